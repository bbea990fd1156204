"""The error classes and the exit code of each.

::

    WgError                     70  base class, never raised directly
    ├── UsageError               2  the command was called wrongly
    ├── ConfigError              3  a configuration file, home folder or option value is wrong
    │   └── StorageError         3  a disk is full or cannot be written; free space and try again
    ├── DataError                3  a data set cannot be read or used
    ├── DecodeError              3  bytes from outside are malformed
    ├── RefusedError             4  the plant refuses the request
    │   ├── BudgetExceeded       4  the privacy budget does not cover the request
    │   ├── PolicyRefused        4  the site's policy forbids the request
    │   ├── NoMachineStatistics  4  the plant has no machine statistics to release
    │   └── ApprovalPending      4  a person at the site has not decided yet
    ├── VerificationError        5  a signature, hash, proof or recomputation does not match
    ├── NotAcceptedError         6  delivered weights did not pass the acceptance policy
    ├── PeerError                7  the network or the other side failed
    └── InternalError           70  a bug in weightgate

Ctrl-C ends every command with 130. ``wg-audit verify`` ends with 0 only for *verified*, with 8 for
*partly verified*, and with 9 if the log *holds by itself*.

Messages name the file and field, the value found and the value expected. They never contain private
data, because exception text may reach a log that leaves the site.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the commands; ``INTERRUPTED`` (Ctrl-C) is 128 + SIGINT, as in shells."""

    OK = 0
    USAGE = 2
    CONFIG = 3
    REFUSED = 4
    VERIFICATION = 5
    NOT_ACCEPTED = 6
    PEER = 7
    PARTLY_VERIFIED = 8
    HOLDS_BY_ITSELF = 9
    INTERNAL = 70
    INTERRUPTED = 130


class WgError(Exception):
    """Base of every error that weightgate raises on purpose."""

    exit_code: ClassVar[int] = ExitCode.INTERNAL
    code: ClassVar[str] = "internal"


class UsageError(WgError):
    """The command was called wrongly."""

    exit_code = ExitCode.USAGE
    code = "usage"


class ConfigError(WgError):
    """A configuration file, home folder or option value is wrong."""

    exit_code = ExitCode.CONFIG
    code = "config"


class StorageError(ConfigError):
    """A disk is full or cannot be written. Nothing changed; the command can be repeated."""

    code = "storage"


class DataError(WgError):
    """A data set cannot be read or used."""

    exit_code = ExitCode.CONFIG
    code = "data"


class DecodeError(WgError):
    """Bytes from outside are malformed."""

    exit_code = ExitCode.CONFIG
    code = "decode"


class RefusedError(WgError):
    """The plant refuses the request."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class BudgetExceeded(RefusedError):
    """The privacy budget of the data set does not cover the request."""

    code = "budget"


class PolicyRefused(RefusedError):
    """The site's policy forbids the request."""

    code = "policy"


class NoMachineStatistics(RefusedError):
    """The plant has no data sheet that its encoder can read, and so no machine statistics."""

    code = "machine"


class ApprovalPending(RefusedError):
    """A person at the site must decide about the request and has not done so yet."""

    code = "approval"


class VerificationError(WgError):
    """A signature, hash, proof or recomputation does not match."""

    exit_code = ExitCode.VERIFICATION
    code = "verification"


class NotAcceptedError(WgError):
    """Delivered weights did not pass the acceptance policy."""

    exit_code = ExitCode.NOT_ACCEPTED
    code = "not-accepted"


class PeerError(WgError):
    """The network failed, or the server or witness at the other end."""

    exit_code = ExitCode.PEER
    code = "peer"


class InternalError(WgError):
    """A bug in weightgate."""


ERRORS_BY_CODE = {
    kind.code: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, WgError)
}
"""Error classes by code, for decoding the answer of a child process."""


@contextlib.contextmanager
def reraise_os_errors(error_type: type[WgError], message_prefix: str) -> Iterator[None]:
    """Re-raise an ``OSError`` as ``error_type``, with a prefix and the system's reason."""
    try:
        yield
    except OSError as error:
        raise error_type(f"{message_prefix}: {error.strerror}") from error


def check_byte_count(byte_count: int, limit: int, input_name: str) -> None:
    """Raise ``DecodeError`` if an input of ``byte_count`` bytes is larger than ``limit`` bytes."""
    if byte_count > limit:
        raise DecodeError(f"{input_name}: {byte_count} bytes, at most {limit} are accepted")


def excerpt(text: str) -> str:
    """Return a rejected text for an error message, quoted, and cut after 40 characters."""
    return repr(text) if len(text) <= 40 else f"{text[:40]!r}... ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """Code, message and exit code with which a command reports the error that ended it."""

    code: str
    message: str
    exit_code: int


def error_report(error: BaseException) -> ErrorReport:
    """Return the report of an error that ended a command; an unknown error counts as a bug."""
    if isinstance(error, WgError):
        message = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
        return ErrorReport(error.code, message, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        message = "interrupted: run the same command again to go on"
        return ErrorReport("interrupted", message, ExitCode.INTERRUPTED)
    if isinstance(error, OSError) and error.filename is not None:
        return ErrorReport(ConfigError.code, f"{error.filename}: {error.strerror}", ExitCode.CONFIG)
    message = "a bug in weightgate; the log has the trace"
    return ErrorReport(InternalError.code, message, ExitCode.INTERNAL)
