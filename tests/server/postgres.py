"""A throw-away PostgreSQL cluster on a Unix socket, for tests and benchmarks that find one.

PostgreSQL refuses to run as root, so that a root user's cluster runs as ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.patience import PATIENCE_SECONDS

MISSING = "no PostgreSQL programs (initdb, postgres), or no driver (psycopg), on this machine"
_FOLDERS = ("/usr/local/bin", "/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")


def program(name: str) -> Path | None:
    """Where a program of PostgreSQL lies, if it is there."""
    found = shutil.which(name)
    if found:
        return Path(found)
    for pattern in _FOLDERS:
        for folder in sorted(Path("/").glob(pattern.lstrip("/")), reverse=True):
            if (folder / name).is_file():
                return folder / name
    return None


def available() -> bool:
    driver = importlib.util.find_spec("psycopg") is not None
    return driver and program("initdb") is not None and program("postgres") is not None


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[str]:
    """Run a cluster; gives the URL of its database ``postgres``.

    Args:
        durable: Whether commits wait for the disk, as in production.
    """
    initdb, postgres = program("initdb"), program("postgres")
    assert initdb is not None and postgres is not None, MISSING
    user = _user()
    with tempfile.TemporaryDirectory(prefix="wgpg") as name:
        folder = Path(name)
        if user is not None:
            shutil.chown(folder, user)
        data = folder / "data"
        options: Any = {"cwd": folder, "user": user, "stdout": subprocess.DEVNULL}
        subprocess.run(
            [initdb, "-D", data, "-U", "wg", "-A", "trust", "-E", "UTF8", "--locale=C", "-N"],
            check=True,
            **options,
        )
        settings = ["listen_addresses=", f"fsync={'on' if durable else 'off'}"]
        log = (folder / "log").open("wb")
        process = subprocess.Popen(
            [postgres, "-D", data, "-k", folder, *(w for s in settings for w in ("-c", s))],
            stderr=log,
            **options,
        )
        try:
            _wait(process, folder)
            yield f"postgresql+psycopg://wg@/postgres?host={folder}"
        finally:
            process.send_signal(signal.SIGINT)  # ends clients that are still there
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()


def _wait(process: subprocess.Popen[bytes], folder: Path) -> None:
    import psycopg  # only where there is a server to speak to

    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(f"host={folder} user=wg dbname=postgres").close()
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def _user() -> str | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            pwd.getpwnam(name)
        except KeyError:
            continue
        return name
    return None
