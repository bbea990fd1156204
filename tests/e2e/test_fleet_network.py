"""The installed commands call nobody but the configured server, and look no name up.

Once with a resolver and a ``connect`` that refuse everything else inside each process; once, where
``strace`` is there, by the system calls that the kernel saw.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.client.conftest import LABELS, write_npz
from tests.e2e.fleet_support import finished, make_home, start_campaign
from tests.e2e.product import (
    BIN,
    Command,
    Fleet,
    Packages,
    command,
    equip,
    make_fleet,
    seams,
    serving,
)
from tests.patience import wait_until

from wg_core.wire import protocol
from wg_server.fleet.enrolment import create_join_token
from wg_server.site.home import ServerHome
from wg_server.store.server_store import ServerStore


def run(fleet: Fleet, name: str, *words: str | Path, environment: dict[str, str]) -> Command:
    """Run a command to its end."""
    with command(fleet, name, *words, environment=environment) as started:
        assert started.wait() == 0, started.said()
    return started


def ports(home: ServerHome) -> str:
    config = home.read_config()
    return f"{config.fleet_port},{config.enrol_port},{config.admin_port}"


def test_no_process_of_ours_looks_up_a_name_or_calls_a_stranger(
    tmp_path: Path, packages: Packages
) -> None:
    home = make_home(tmp_path / "server")
    equip(home, packages)
    (tmp_path / "logs").mkdir()
    fleet = Fleet(home, (), tmp_path / "logs")
    calls = tmp_path / "calls"
    calls.touch()
    watched = seams(network_log=calls, network_ports=ports(home))
    data = write_npz(tmp_path / "plant.npz", {0: 8, 1: 8, 2: 8}, seed=1, labels=LABELS)
    plant = tmp_path / "plant"
    with serving(fleet, watched) as main, ServerStore.open(home) as store:
        token = protocol.encode_join_token(create_join_token(home, store, "plant-a", 600.0))
        join = ("--home", plant, "--join", token, "--data", data)
        run(fleet, "init", "wg-client", "init", *join, environment=watched)
        words = ("wg-client", "run", "--home", plant, "--once")
        with command(fleet, "plant", *words, environment=watched) as node:
            assert finished(home, start_campaign(home, ["plant-a"])).state == "done"
            assert node.wait() == 0, node.said()
        assert main.terminate() == 0, main.said()
    seen = calls.read_text().splitlines()
    assert [line for line in seen if line.startswith("REFUSED")] == []
    config = home.read_config()
    for port in (config.fleet_port, config.enrol_port):
        assert f"allowed socket.connect '127.0.0.1' {port}" in seen


def test_the_watch_refuses_names_and_strangers(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    code = (
        "import socket\n"
        "for call in (lambda: socket.getaddrinfo('localhost', 80),\n"
        "             lambda: socket.gethostbyname('localhost'),\n"
        "             lambda: socket.create_connection(('127.0.0.1', 9))):\n"
        "    try: call()\n"
        "    except OSError as error: assert 'forbids' in str(error), error\n"
        "    else: raise AssertionError\n"
    )
    environment = seams(network_log=log, network_ports="1")
    subprocess.run([BIN / "python", "-c", code], env=environment, check=True)
    assert len(log.read_text().splitlines()) == 3


_CALL = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg)\(.*?(sa_family=\w+.*)")


def foreign(trace: Path, allowed: set[int]) -> Iterator[str]:
    """Traced calls to an address other than the allowed ports of 127.0.0.1."""
    for line in trace.read_text("utf-8", "replace").splitlines():
        found = _CALL.search(line)
        if found is None:
            continue
        address = re.search(r'sin_port=htons\((\d+)\), sin_addr=inet_addr\("([\d.]+)"\)', line)
        if address is None or address[2] != "127.0.0.1" or int(address[1]) not in allowed:
            yield line


def child(pid: int) -> int:
    """The process that a tracer started."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_the_kernel_saw_no_other_address_than_the_servers(
    tmp_path: Path, packages: Packages
) -> None:
    fleet = make_fleet(tmp_path, packages, ["plant-a"])
    site = fleet.sites[0]
    config = fleet.server.read_config()
    probe = subprocess.run(["strace", "-e", "trace=none", "true"], capture_output=True, check=False)
    if probe.returncode != 0:
        pytest.skip("strace may not trace here")

    def traced(name: str) -> tuple[str | Path, ...]:
        calls = "trace=connect,sendto,sendmsg,sendmmsg"
        out = str(tmp_path / f"{name}.trace")
        return ("strace", "-f", "--seccomp-bpf", "-qq", "-e", calls, "-o", out)

    with ExitStack() as stack:
        words = (*traced("server"), BIN / "wg-server", "serve", "--home", fleet.server.root)
        server = stack.enter_context(command(fleet, "server", *words))
        wait_until(lambda: "ready" in server.said(), "the server")
        words = (*traced("plant"), BIN / "wg-client", "run", "--once", "--home", site.home.root)
        plant = stack.enter_context(command(fleet, "plant", *words))
        words = ("--wait", "--home", fleet.server.root, "--sites", "plant-a", "--unshared")
        ask = ("wg-server", "campaign", "start", *words)
        run(fleet, "campaign", *ask, environment={})
        assert plant.wait() == 0, plant.said()
        os.kill(child(server.pid), signal.SIGTERM)
        assert server.wait() == 0
    allowed = {config.fleet_port}
    assert f"htons({config.fleet_port})" in (tmp_path / "plant.trace").read_text()
    assert list(foreign(tmp_path / "plant.trace", allowed)) == []
    assert list(foreign(tmp_path / "server.trace", allowed)) == []
