"""Loaded by Python itself in a test's child processes, before anything of ours; see ``seams()``.

``CLOCK_FILE``: a file with a number of seconds, by which this process's clock is ahead; it is read
at every look at the clock. ``NETWORK_LOG``: a file to which every name look-up and every address
that is called is written; ``NETWORK_PORTS``: ports on 127.0.0.1 that may be called. Anything else,
names first of all, is written down and refused. ``MODULES_FILE``: where the names of all modules
that are loaded are written, on SIGUSR1.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def shift_the_clock(path: str) -> None:
    import datetime
    import time

    true_time, true_ns = time.time, time.time_ns
    true_datetime: Any = datetime.datetime

    def ahead() -> float:
        with open(path) as file:  # noqa: PTH123 - pathlib would look at the clock's module first
            return float(file.read())

    class Meta(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, true_datetime)

        def __subclasscheck__(cls, other: type) -> bool:
            return issubclass(other, true_datetime)

    class Shifted(true_datetime, metaclass=Meta):  # type: ignore[misc]
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return true_datetime.fromtimestamp(time.time(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return true_datetime.fromtimestamp(time.time(), datetime.UTC).replace(tzinfo=None)

    time.time = lambda: true_time() + ahead()
    time.time_ns = lambda: true_ns() + int(ahead() * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]


def watch_the_network(path: str, ports: set[str]) -> None:
    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect":
            address = arguments[1]
            host, port = address[:2] if isinstance(address, tuple) else (address, "")
            good = host == "127.0.0.1" and str(port) in ports
        elif event == "socket.getaddrinfo":
            # A numeric address goes through the resolver's interface without a look-up.
            host, port = arguments[:2]
            good = host == "127.0.0.1" and str(port) in ports
        elif event.startswith("socket.gethostby") or event == "socket.getnameinfo":
            host, port, good = arguments[0], "", False
        elif event == "socket.sendto":
            host, port, good = arguments[1], "", False
        else:
            return
        with open(path, "a") as log:  # noqa: PTH123
            log.write(f"{'allowed' if good else 'REFUSED'} {event} {host!r} {port!r}\n")
        if not good:
            raise OSError(f"this test forbids {event} {host!r} {port!r}")

    sys.addaudithook(audit)


def list_modules(path: str) -> None:
    import signal

    def write(number: int, frame: object) -> None:
        with open(f"{path}.part", "w") as file:  # noqa: PTH123
            file.write("\n".join(sorted(sys.modules)))
        os.replace(f"{path}.part", path)  # noqa: PTH105

    signal.signal(signal.SIGUSR1, write)


if os.environ.get("MODULES_FILE"):
    list_modules(os.environ["MODULES_FILE"])
if os.environ.get("CLOCK_FILE"):
    shift_the_clock(os.environ["CLOCK_FILE"])
if os.environ.get("NETWORK_LOG"):
    watch_the_network(os.environ["NETWORK_LOG"], set(os.environ["NETWORK_PORTS"].split(",")))
