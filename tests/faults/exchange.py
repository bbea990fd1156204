"""A server's generator is exchanged on a disk that fails; run by ``sweep``."""

from __future__ import annotations

from tests.faults.sweep import World
from tests.server.generators import candidate, install

from wg_core import atomic
from wg_server.generator import versions
from wg_server.operation.initialise import create_home
from wg_server.site.home import ServerConfig, ServerHome


class GeneratorExchange:
    """A new generator is written beside the one in use, installed, and an old one deleted."""

    def prepare(self, world: World) -> None:
        home = ServerHome(world.disk / "server")
        create_home(home, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
        atomic.write_bytes(home.encoder_file, b"a public encoder")
        for heads in (b"oldest", b"old"):
            install(home, heads * 5_000)

    def act(self, world: World) -> bytes:
        home = ServerHome(world.disk / "server")
        version = candidate(home, b"new" * 5_000)
        versions.install_version(home, version)
        versions.prune_versions(home, ())
        return version.id.encode()

    def check(self, world: World, given: bytes | None) -> None:
        home = ServerHome(world.disk / "server")
        version = versions.usable_version(home)
        heads = version.heads_path.read_bytes()
        assert heads == b"new" * 5_000 or (given is None and heads == b"old" * 5_000)
        assert given in (None, version.id.encode())
        before = versions.read_version(home, versions.read_installed_versions(home).before)
        before.verify_packages()
        self.act(world)
        assert len(versions.list_versions(home)) == 2
