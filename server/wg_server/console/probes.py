"""Whether a server works: questions with an answer of one word each.

*Alive* means that the process can go on: a supervisor that is told otherwise should start it anew.
*Ready* means that it can do its work now; that may pass without a new start (a database that is
away, a full disk), and a load balancer or an operator should know.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from wg_core.errors import WgError
from wg_server.generator import versions
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store


@dataclass(frozen=True, slots=True)
class Probe:
    """One question.

    Attributes:
        name: Word for what is asked.
        good: Answers.
        restart: Whether a new start is the cure.
        essential: Whether plants cannot be served where it fails. One that is not leaves the server
            ready: a load balancer must not keep plants away from it.
    """

    name: str
    good: Callable[[], bool]
    restart: bool = False
    essential: bool = True

    def ask(self) -> bool:
        """The answer; no, where it cannot be had."""
        try:
            return self.good()
        except (WgError, OSError):
            return False


def probes_of(
    home: ServerHome, store: Store, working: Callable[[], bool], *, disk_floor: int = 1 << 30
) -> tuple[Probe, ...]:
    """List the probes of a server.

    Args:
        working: Whether the threads work that must not end.
        disk_floor: Bytes that must be free on the home's disk: a campaign may need room for its
            packages.
    """
    return (
        Probe("worker", working, restart=True),
        Probe("database", store.answers),
        Probe("disk", lambda: shutil.disk_usage(home.root).free >= disk_floor),
        Probe("certificate", lambda: min(expiries(home).values()) > time.time()),
        Probe("generator", lambda: _usable(home), essential=False),
    )


def _usable(home: ServerHome) -> bool:
    """Return whether packages can be made with the generator that is installed, if one is."""
    return not versions.pointer(home).version or bool(versions.ready(home))


def expiries(home: ServerHome) -> dict[str, float]:
    """When the certificates of server and authority end, Unix time.

    Raises:
        ConfigError: One cannot be read.
    """
    paths = {"server": home.tls_cert, "authority": home.ca_cert}
    return {
        name: pki.load_certificate(path).not_valid_after_utc.timestamp()
        for name, path in paths.items()
    }
