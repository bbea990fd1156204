"""Make the homes of a version: a server's, a plant's and an auditor's, by our commands.

``python -m tests.homes.make`` writes ``tests/homes/VERSION.tar.xz``, with the smallest zoo and
generator that go through. Keys, times and noise are new ones each time, so no two runs write the
same bytes. A version's archive is made when it is released, and never again: later code must open
it.

::

    server/                    home of the server, with the generator that it accepted
    plant/                     home of the plant, after one release and one package
    auditor/                   what an auditor gets: ledger.wgl of the plant, server/ of the server
    data/records.npz           what the plant learned from
    data/new.npz               other records of it
    data/predictions.json      what its model in use said of these
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from packaging.version import Version
from tests.e2e.fleet_support import healthy
from tests.patience import wait_until
from tests.tutorial import PROGRAMS

from wg_common import cli
from wg_core import __version__
from wg_server.operation.initialise import free_ports
from wg_server.site.home import ServerHome
from wg_server.zoo.procedural import families

FOLDER = Path(__file__).parent
ARCHIVES = sorted(FOLDER.glob("*.tar.xz"), key=lambda path: Version(path.name[: -len(".tar.xz")]))
NEWEST = ARCHIVES[-1]
SITE = "plant-a"
SERVER, PLANT, AUDITOR, DATA = "server", "plant", "auditor", "data"
PROGRAM = Path(sys.executable).with_name("wg-server")
RECORDS, NEW_RECORDS, PREDICTIONS = "records.npz", "new.npz", "predictions.json"
LEDGER = "ledger.wgl"
_CLASSES, _LEARNED, _NEW = 4, 8, 3  # Classes, and records of each
ZOO = """
seed: 1
encoder: {records: 200, pixels: 64, dimension: 16}
sources:
  - {kind: procedural, families: 9, sites: 2, per_class: 8}
"""
TRAINING = """
seed: 1
episodes: 4
"""


def result_of(*words: str | Path) -> tuple[int, dict[str, Any]]:
    """Exit code and ``--json`` document of one of our commands, which runs in this process."""
    program, *rest = map(str, words)
    code: Any = None
    with redirect_stdout(io.StringIO()) as out:
        try:
            cli.run_program(PROGRAMS[program], [*rest, "--json"])
        except SystemExit as ended:
            code = ended.code
    return code, json.loads(out.getvalue())


def command(*words: str | Path, good: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """As ``result_of``, the document alone.

    Args:
        good: Exit codes that are expected.
    """
    code, document = result_of(*words)
    assert code in good, f"{' '.join(map(str, words))}: {document}"
    return document


def release(root: Path) -> dict[str, Any]:
    """One release of the plant, and the package that comes of it, in files; what was applied."""
    statistics, package = root / "release.wgs", root / "package.wgw"
    plant = "--home", root / PLANT
    command("wg-client", "statistics", *plant, "--epsilon", "2", "--out", statistics)
    files = "--statistics", statistics, "--out", package
    command("wg-server", "generate", "--home", root / SERVER, *files)
    applied = command("wg-client", "apply", *plant, package, good=(0, 6))
    statistics.unlink()
    package.unlink()
    return applied


def predictions(root: Path) -> list[dict[str, Any]]:
    """What the plant's model in use says of new records."""
    found = command("wg-client", "predict", "--home", root / PLANT, root / DATA / NEW_RECORDS)
    rows: list[dict[str, Any]] = found["results"][0]["predictions"]
    return rows


def make(root: Path) -> None:
    """The homes of the version that is installed, in an empty folder."""
    server, plant, auditor = root / SERVER, root / PLANT, root / AUDITOR
    of_server = "--home", server
    with tempfile.TemporaryDirectory() as scratch:
        zoo, training = Path(scratch, "zoo.yaml"), Path(scratch, "training.yaml")
        zoo.write_text(ZOO)
        training.write_text(TRAINING)
        command("wg-server", "init", *of_server, "--port", "0")
        command("wg-server", "zoo", "build", *of_server, "--plan", zoo, "--workers", "1")
        card = command("wg-server", "train", *of_server, "--plan", training, good=(0, 6))
    command("wg-server", "generator", *of_server, "--use", card["version"])
    _write_data(root / DATA)
    with serving(server):
        token = command("wg-server", "enroll", *of_server, SITE)["token"]
        data = "--data", root / DATA / RECORDS, "--encoder", ServerHome(server).encoder_sha256()
        command("wg-client", "init", "--home", plant, "--join", token, *data)
    release(root)
    (root / DATA / PREDICTIONS).write_text(json.dumps(predictions(root), indent=1))
    auditor.mkdir()
    command("wg-server", "export", *of_server, "--site", SITE, "--out", auditor / SERVER)
    command("wg-audit", "export", "--home", plant, "--out", auditor / LEDGER)


def _write_data(folder: Path) -> None:
    """Records of a plant whose family and site no zoo has."""
    family = families.draw_family((99, 2), "digits")
    site = families.draw_site(family, 1, strength=0.3)
    rng = np.random.default_rng(1)
    folder.mkdir()
    for name, count in ((RECORDS, _LEARNED), (NEW_RECORDS, _NEW)):
        labels = np.arange(_CLASSES).repeat(count)
        x = np.array(families.render_records(family, site, labels, rng))
        classes = np.array(family.labels[:_CLASSES])
        np.savez_compressed(folder / name, x=x, y=labels, classes=classes)


def unpack(root: Path, archive: Path = NEWEST) -> None:
    """Unpack the homes of an archive, whose server gets free ports: many tests serve it at once."""
    with tarfile.open(archive) as homes:
        homes.extractall(root, filter="data")
    server = ServerHome(root / SERVER)
    fleet, enrolment, admin = free_ports("127.0.0.1", 3)
    config = server.read_config()
    server.write_config(replace(config, fleet_port=fleet, enrol_port=enrolment, admin_port=admin))


@contextmanager
def serving(home: Path) -> Iterator[None]:
    """Serve a home with the installed command until the block ends."""
    with subprocess.Popen([PROGRAM, "serve", "--home", home]) as process:

        def is_up() -> bool:
            assert process.poll() is None, "the server has ended"
            return healthy(ServerHome(home))

        try:
            wait_until(is_up, "the server")
            yield
        finally:
            process.terminate()


def main() -> None:
    """Write the archive of this version."""
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="weightgate-homes-") as folder:
        make(Path(folder))
        with tarfile.open(FOLDER / f"{__version__}.tar.xz", "w:xz", preset=9) as archive:
            archive.add(folder, arcname=".")


if __name__ == "__main__":
    main()
