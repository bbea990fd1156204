"""Process in which the node applies one package; see ``wg_core.fleet.apply_process``.

Standard output holds only the result; what libraries print goes to standard error.
"""

import json
import logging
import os
import signal
import threading
from pathlib import Path

import click

from wg_client.cli.models import (
    applied_model_document,
    applied_model_lines,
    kept_sensor_document_and_lines,
)
from wg_client.plant_language import load_plant_language
from wg_common import cli, language
from wg_common.language import text
from wg_core import logs
from wg_core.errors import InternalError, StorageError, WgError
from wg_core.fleet.applier import DISK_ERROR_NUMBERS
from wg_core.fleet.apply_process import ApplyResult
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

log = logging.getLogger(__name__)


@click.command()
@click.argument("home", type=click.Path(path_type=Path))
@click.argument("package", type=click.Path(path_type=Path))
@cli.log_option
def apply_in_process(home: Path, package: Path, log_format: str) -> None:
    """Apply PACKAGE to the plant of HOME; write one ``ApplyResult`` to standard output."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # applying a package is not interrupted
    answer = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=_exit_when_node_ends, daemon=True).start()
    try:
        reply = _apply_package(ClientHome(home), package, log_format)
    except WgError as error:
        reply = ApplyResult(code=error.code, message=str(error))
    except OSError as error:
        kind = StorageError if error.errno in DISK_ERROR_NUMBERS else InternalError
        reply = ApplyResult(
            code=kind.code, message=f"{package}: cannot be applied: {error.strerror}"
        )
    except Exception as error:
        log.exception("package %s", package.stem)
        reply = ApplyResult(code=InternalError.code, message=f"{package}: {type(error).__name__}")
    with os.fdopen(answer, "wb") as stream:
        stream.write(canonical.encode(reply))


def _apply_package(home: ClientHome, package: Path, log_format: str) -> ApplyResult:
    from wg_client.selection.sensor_package import SensorPackage, receive_package  # torch: seconds

    logs.set_log_format(log_format, hidden_paths=(configuration.load(home).data.path,))
    kept_model = receive_package(home, package)
    speak = language.current_language()
    if isinstance(kept_model, SensorPackage):
        log_line = f"soft sensor kept; next: wg-client soft-sensor --home {home.root}"
        document, sentences = kept_sensor_document_and_lines(home, kept_model)
    else:
        kept_name = kept_model.manifest.kept
        command = f"wg-client models show --home {home.root}"
        log_line = f"kept {kept_name}; report: {home.report}; next: {command}"
        document = applied_model_document(home, kept_model)
        first_line = text("kept {model}", model=kept_name)
        sentences = [first_line, *applied_model_lines(home, kept_model)]
    return ApplyResult(
        document=json.dumps(document, indent=2, sort_keys=True),
        lines=tuple(logs.escape_unprintable(speak(line), "\n\t") for line in sentences),
        log_line=log_line,
    )


def _exit_when_node_ends() -> None:
    """End this process when the node ends, which closes standard input."""
    while os.read(0, 1):  # not sys.stdin, whose lock would be held at exit
        pass
    os._exit(os.EX_TEMPFAIL)


if __name__ == "__main__":
    cli.run_program(apply_in_process, package_extra="client", load_language=load_plant_language)
