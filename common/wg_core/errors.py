"""The one error tree, and the one table of exit codes.

::

    WgError                     70  internal (never raised as such)
    ├── UsageError               2  the command was called wrongly
    ├── ConfigError              3  a configuration file, home folder or option value is wrong
    │   └── StorageError         3  a disk is full or cannot be written; free some and try again
    ├── DataError                3  a data set cannot be read or used
    ├── DecodeError              3  bytes from outside are not what they claim to be
    ├── RefusedError             4  the plant says no
    │   ├── BudgetExceeded       4  the privacy budget does not cover it
    │   ├── PolicyRefused        4  the site's policy forbids it
    │   ├── MachineUnstated      4  the plant has no machine statistics that it could release
    │   └── ApprovalPending      4  a person of the site has not decided yet
    ├── VerificationError        5  a signature, hash, proof or recomputation does not hold
    ├── NotAcceptedError         6  delivered weights did not pass the acceptance policy
    ├── PeerError                7  the network or the other side failed
    └── InternalError           70  a bug of ours

Ctrl-C ends every command with 130. ``wg-audit verify`` ends with 0 for *verified* alone: with 8 for
*partly verified*, and with 9 where the log *holds by itself*.

Messages name the file and field, and say what was found and what was expected. They never
contain private data: exception text may reach a log that leaves the site.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """Exit codes of the commands; ``INTERRUPTED`` is Ctrl-C, numbered as shells number SIGINT."""

    OK = 0
    USAGE = 2
    CONFIG = 3
    REFUSED = 4
    VERIFICATION = 5
    NOT_ACCEPTED = 6
    PEER = 7
    PARTLY_VERIFIED = 8
    BY_ITSELF = 9
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
    """A disk is full or cannot be written. Nothing changed; it may pass."""

    code = "storage"


class DataError(WgError):
    """A data set cannot be read or used."""

    exit_code = ExitCode.CONFIG
    code = "data"


class DecodeError(WgError):
    """Bytes from outside are not what they claim to be."""

    exit_code = ExitCode.CONFIG
    code = "decode"


class RefusedError(WgError):
    """The plant says no."""

    exit_code = ExitCode.REFUSED
    code = "refused"


class BudgetExceeded(RefusedError):
    """The privacy budget of the data set does not cover the request."""

    code = "budget"


class PolicyRefused(RefusedError):
    """The site's policy forbids the request."""

    code = "policy"


class MachineUnstated(RefusedError):
    """The plant has no machine statistics: it states no machine that its encoder reads."""

    code = "machine"


class ApprovalPending(RefusedError):
    """A person of the site must decide, and has not yet."""

    code = "approval"


class VerificationError(WgError):
    """A signature, hash, proof or recomputation does not hold."""

    exit_code = ExitCode.VERIFICATION
    code = "verification"


class NotAcceptedError(WgError):
    """Delivered weights did not pass the acceptance policy."""

    exit_code = ExitCode.NOT_ACCEPTED
    code = "not-accepted"


class PeerError(WgError):
    """The network or the other side failed."""

    exit_code = ExitCode.PEER
    code = "peer"


class InternalError(WgError):
    """A bug of ours."""


BY_CODE = {
    kind.code: kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, WgError)
}
"""Every error of the tree by its code, for those that a child process answers with."""


@contextlib.contextmanager
def raised_as(kind: type[WgError], subject: str) -> Iterator[None]:
    """Raise what the operating system says as an error of ours: what failed, and its words."""
    try:
        yield
    except OSError as error:
        raise kind(f"{subject}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Failure:
    """An error as a command that it ends says it.

    Attributes:
        code: Name of the kind of error.
        message: Sentence for a person.
        exit_code: Status that the process ends with.
    """

    code: str
    message: str
    exit_code: int


def failure(error: BaseException) -> Failure:
    """Return how a command that an error ended answers; what is not of the tree is a bug."""
    if isinstance(error, WgError):
        message = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
        return Failure(error.code, message, error.exit_code)
    if isinstance(error, KeyboardInterrupt):
        message = "interrupted: run the same command again to go on"
        return Failure("interrupted", message, ExitCode.INTERRUPTED)
    if isinstance(error, OSError) and error.filename is not None:
        return Failure(ConfigError.code, f"{error.filename}: {error.strerror}", ExitCode.CONFIG)
    message = "a bug in weightgate; the log has the trace"
    return Failure(InternalError.code, message, ExitCode.INTERNAL)
