"""Application of a weights package in a child process; the node itself loads no models.

The process is this interpreter with one module of the installation, ``CHILD_MODULE``; the server
controls nothing but the bytes of the package on disk. The process writes one ``ApplyResult`` record
to its standard output and logs to this process's standard error. It ignores the signals that end a
node, so that a package is finished first, and ends when its standard input is closed, so that it
never outlives the node.
"""

import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from wg_core import errors, logs
from wg_core.errors import InternalError, StorageError
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

CHILD_MODULE = "wg_client.cli.applying"
RESULT_BYTES_LIMIT = 1 << 20
RESULT_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """Outcome of applying one weights package at the plant.

    Attributes:
        code: Code of the error (``wg_core.errors``); empty: the package was applied.
        message: Message of the error.
        document: Report on the selected model and the reasons, as JSON, for ``--once --json``.
        lines: The same report as lines of text.
        log_line: Result and next step in English, for the log.
    """

    version: int = RESULT_VERSION
    code: str = ""
    message: str = ""
    document: str = ""
    lines: tuple[str, ...] = ()
    log_line: str = ""


def apply_package(home: ClientHome, path: Path) -> ApplyResult:
    """Apply a weights package in a child process, and wait for the result.

    Raises:
        StorageError: The node was stopped before the child began; the package stays in the inbox.
        WgError: The error that the child reports; ``InternalError`` if it ended without an answer.
    """
    words = [sys.executable, "-P", "-m", CHILD_MODULE, str(home.root), str(path)]
    words += ["--log-format", logs.JSON_FORMAT if logs.is_logging_json() else logs.TEXT_FORMAT]
    with subprocess.Popen(  # noqa: S603 - this interpreter, and a module of the installation
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        data = child.stdout.read(RESULT_BYTES_LIMIT + 1)
        if len(data) > RESULT_BYTES_LIMIT:
            child.kill()
        code = child.wait()
    if -code in (signal.SIGTERM, signal.SIGINT):  # before the child ignored them
        raise StorageError(f"{path}: not applied: the service was stopped")
    if code != 0 or not data or len(data) > RESULT_BYTES_LIMIT:
        raise InternalError(f"{path}: the process that applied it ended with {code}")
    reply = canonical.decode(ApplyResult, data, input_name="answer of the applying process")
    if reply.code:
        raise errors.ERRORS_BY_CODE.get(reply.code, InternalError)(reply.message)
    return reply
