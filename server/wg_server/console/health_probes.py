"""Health probes of a running server: the database, the generator, and other parts.

*Alive* means that the process works: if not, a supervisor should restart it. *Ready* means that the
server can serve now. It may become ready again without a restart (after a database outage or a full
disk), and a load balancer or an operator should know.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass

from wg_core.errors import WgError
from wg_server.generator import versions
from wg_server.site import pki
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


@dataclass(frozen=True, slots=True)
class HealthProbe:
    """One health check of the server.

    Attributes:
        name: Name of the check.
        passes: Function that returns True if the check passes.
        is_cured_by_restart: True if restarting the process cures a failure.
        is_essential: True if plants cannot be served while the check fails. Other failing checks
            leave the server ready, so that a load balancer does not cut plants off.
    """

    name: str
    passes: Callable[[], bool]
    is_cured_by_restart: bool = False
    is_essential: bool = True

    def is_healthy(self) -> bool:
        """Return the result of the check; False if it raises an error."""
        try:
            return self.passes()
        except (WgError, OSError):
            return False


def server_probes(
    home: ServerHome,
    store: ServerStore,
    are_threads_running: Callable[[], bool],
    *,
    min_free_bytes: int = 1 << 30,
) -> tuple[HealthProbe, ...]:
    """Return the probes of a server.

    Args:
        are_threads_running: Returns True while all essential threads run.
        min_free_bytes: Bytes that must be free on the home's disk, as a campaign may need room for
            its packages.
    """
    return (
        HealthProbe("worker", are_threads_running, is_cured_by_restart=True),
        HealthProbe("database", store.is_readable),
        HealthProbe("disk", lambda: shutil.disk_usage(home.root).free >= min_free_bytes),
        HealthProbe("certificate", lambda: min(certificate_expiries(home).values()) > time.time()),
        HealthProbe("generator", lambda: _is_generator_usable(home), is_essential=False),
    )


def _is_generator_usable(home: ServerHome) -> bool:
    """Return whether the installed generator is usable, or none is installed."""
    return not versions.read_installed_versions(home).version or bool(versions.usable_version(home))


def certificate_expiries(home: ServerHome) -> dict[str, float]:
    """Return the expiry of the server's and the authority's certificates, Unix time.

    Raises:
        ConfigError: A certificate cannot be read.
    """
    paths = {"server": home.tls_cert, "authority": home.ca_cert}
    return {
        name: pki.load_certificate(path).not_valid_after_utc.timestamp()
        for name, path in paths.items()
    }
