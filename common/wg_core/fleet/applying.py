"""A package is applied by a process of its own, so that the node loads no models.

The process is this interpreter with one module of the installation, ``PROGRAM``; a server chooses
nothing of it but the bytes of the package on disk. It answers with one ``Applied`` record on its
standard output, logs to this process's standard error, ignores the signals that end a node, since a
package that is being applied is finished first, and ends when its standard input does, so that it
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

PROGRAM = "wg_client.cli.applying"
REPLY_LIMIT = 1 << 20
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """Outcome of one package.

    Attributes:
        code: Code of the error (``wg_core.errors``) that ended it; empty: it was applied.
        message: Message of that error.
        document: What was kept and why, as JSON text, for ``--once --json``.
        lines: The same for a person.
    """

    version: int = VERSION
    code: str = ""
    message: str = ""
    document: str = ""
    lines: tuple[str, ...] = ()


def apply_package(home: ClientHome, path: Path) -> Applied:
    """Apply a package in a child process, and wait for it.

    Raises:
        StorageError: A stop of the whole service ended the child early; the package waits.
        WgError: As the child says; ``InternalError`` where it ended without an answer.
    """
    words = [sys.executable, "-P", "-m", PROGRAM, str(home.root), str(path)]
    words += ["--log-format", logs.JSON if logs.in_json() else logs.TEXT]
    with subprocess.Popen(  # noqa: S603 - this interpreter, and a module of the installation
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as child:
        assert child.stdout is not None  # noqa: S101 - for the type checker: it is a pipe
        data = child.stdout.read(REPLY_LIMIT + 1)
        if len(data) > REPLY_LIMIT:
            child.kill()
        code = child.wait()
    if -code in (signal.SIGTERM, signal.SIGINT):  # before the child could ignore them
        raise StorageError(f"{path}: not applied: the service was stopped")
    if code != 0 or not data or len(data) > REPLY_LIMIT:
        raise InternalError(f"{path}: the process that applied it ended with {code}")
    reply = canonical.decode(Applied, data, subject="answer of the applying process")
    if reply.code:
        raise errors.BY_CODE.get(reply.code, InternalError)(reply.message)
    return reply
