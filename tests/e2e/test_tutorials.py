"""The walks of the guides: every command in a block of a page, in its order, on a real server.

What is small: the encoder, and a generator that writes bad weights (``product``). Where a page
joins a server of windows, or names a home that is there already, the test says so in a step.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from demo.processes import Processes, managed_processes
from pyrage import x25519
from tests.client.conftest import window_encoder
from tests.e2e.fleet_support import make_home, running
from tests.e2e.product import Packages, equip
from tests.e2e.test_readme import pictures
from tests.patience import wait_until
from tests.tutorial import Shell, Step, Words, commands, shell, walk

from wg_client.models import store as models
from wg_core import atomic
from wg_core.errors import ExitCode
from wg_core.site.home import ClientHome
from wg_server.generator import versions
from wg_server.site.home import ServerHome

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
ID = "ID"
__all__ = ["window_encoder"]


@dataclass
class Scene:
    """A folder in which a server serves from ``server``, and whatever a page makes beside it."""

    folder: Path
    running: Processes
    run: Shell

    def json(self, *words: object) -> Any:
        return json.loads(self.run([*words, "--json"]))

    def token(self, site: str, file: str = "token", *more: str) -> None:
        """What an operator gives to a plant."""
        said = self.json("wg-server", "enroll", "--home", "server", site, *more)
        Path(file).write_text(said["token"])

    def ask(self, purpose: str = "a page", *more: object, epsilon: str = "0.5") -> None:
        """An operator starts a campaign."""
        words = ("campaign", "start", "--home", "server", "--sites", "plant-a", "--unshared", *more)
        self.run(["wg-server", *words, "--epsilon", epsilon, "--purpose", purpose])

    def waiting(self) -> list[str]:
        """Requests that wait for a person at ``plant``."""
        rows = self.json("wg-client", "requests", "--home", "plant")["requests"]
        return [row["request_id"] for row in rows if row["state"] == "waiting"]

    def joined(self, words: Words) -> Words:
        """A command that joins ``plant-a``, once its token is there."""
        self.token("plant-a")
        return words

    def joined_later(self, words: Words) -> Words:
        """A command that joins the home that worked alone."""
        self.token("alone")
        return words

    def offered(self, words: Words) -> Words:
        """A command that reads an operator's offer, once it is written; nobody can be asked."""
        said = self.json("wg-server", "offer", "--home", "server", "--out", words[-1])
        return [*words, "--encoder", said["encoder"]]

    def named(self, words: Words) -> Words:
        """A command of a request, with that of the first one that waits."""
        return [self.waiting()[0] if word == ID else word for word in words]

    def start(self, words: Words) -> None:
        """``wg-client run``, until it is online."""
        self.running.start("plant", *words)
        self.running.wait_for_log_text("plant", "online")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scene(packages: Packages, folder: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Scene]:
    home = make_home(folder / "server", message_seconds=60)
    equip(home, packages)
    with managed_processes(folder / "processes") as started:
        started.start("server", "wg-server", "serve", "--home", "server")
        started.wait_for_log_text("server", "ready")
        yield Scene(folder, started, shell(capfd))


def of_package(number: int) -> Callable[[Words], Words]:
    """Words with the id of one of the plant's packages, in the order in which they were applied."""

    def named(words: Words) -> Words:
        ids = [one.package_id for one in models.all_manifests(ClientHome(Path("plant")))]
        return [ids[number] if word == "PACKAGE" else word for word in words]

    return named


def changed(home: str, old: str, new: str) -> None:
    """A field of ``client.yaml``, as a person changes it in an editor."""
    path = Path(home) / "client.yaml"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new), "utf-8")


def logs_of_sensors(folder: Path, time: str, state: str) -> None:
    """A recording of 40 seconds with two states, and a table of intervals over it."""
    folder.mkdir()
    rng = np.random.default_rng(3)
    lines = [f"{time},vibration,{state}"]
    for tick in range(800):
        label = ("ok", "worn")[tick // 100 % 2]
        value = np.sin(tick * (0.4 if label == "ok" else 1.1)) + rng.normal(0, 0.1)
        lines.append(f"{tick / 20:.2f},{value:.4f},{label}")
    (folder / "line.csv").write_text("\n".join(lines) + "\n", "utf-8")
    rows = [f"{5 * n},{5 * n + 5},{('ok', 'worn')[n % 2]}" for n in range(8)]
    Path("events.csv").write_text("start,end,label\n" + "\n".join(rows) + "\n", "utf-8")


def of_windows(scene: Scene, encoder: bytes) -> Step:
    """``init`` of sensor logs, as a plant of a server of windows, in a home of its own."""

    def step(words: Words) -> None:
        number = len(list(scene.folder.glob("plant-logs-*")))
        place = scene.folder / f"windows-{number}"
        home = make_home(place)
        atomic.write_bytes(home.encoder_file, encoder)
        with running(home):
            said = scene.json("wg-server", "enroll", "--home", place, "plant-logs")
            Path("token").write_text(said["token"])
            taken = [f"plant-logs-{number}" if word == "plant" else word for word in words]
            if "--intervals" in words:  # the same recording, as if it had no column of states
                line = Path("logs/line.csv")
                line.write_text(
                    "\n".join(row.rpartition(",")[0] for row in line.read_text().splitlines())
                )
                taken += ["--time-column", "time"]
                Path("events.csv").rename("logs/events.csv")
            scene.run(taken)

    return step


def on_the_budget_of_the_first(scene: Scene, encoder: bytes) -> Step:
    """``init --budget-of`` at a second server, for the same site."""

    def step(words: Words) -> None:
        home = make_home(scene.folder / "second", name="second")
        atomic.write_bytes(home.encoder_file, encoder)
        with running(home):
            said = scene.json("wg-server", "enroll", "--home", home.root, "plant-a")
            Path("token").write_text(said["token"])
            scene.run(words)

    return step


NOT_WALKED: dict[str, Step] = {
    # These run until they are stopped, or a campaign comes.
    "wg-client predict --home plant --watch": lambda _: None,
    "wg-client serve": lambda _: None,
    "wg-client run --home alone": lambda _: None,
    # A plant of pictures has no machine; the demo runs these.
    "wg-client check --home plant --of machine": lambda _: None,
    "wg-client statistics --home plant --of machine": lambda _: None,
}


def test_the_guide_of_a_plant(scene: Scene, packages: Packages, window_encoder: bytes) -> None:
    for folder in ("DIR", "NEW_IMAGES", "NEW_RECORDS", "TEST_FOLDER"):
        pictures(Path(folder))
    logs_of_sensors(Path("logs"), "time", "state")
    small = ["--encoder", "server/zoo/encoder.safetensors"]  # seconds instead of minutes

    def person(words: Words) -> None:
        changed("plant", "approve: policy", "approve: human")
        scene.start(words)
        alone = ("--sites", "plant-a")  # plant-b has joined where its encoder is there, and is off
        scene.ask("one", *alone)
        scene.ask("two", *alone)
        wait_until(lambda: len(scene.waiting()) == 2, "two requests that wait")

    def without_a_person(words: Words) -> Words:
        wait_until(lambda: bool(models.all_manifests(ClientHome(Path("plant")))), "a model")
        changed("plant", "approve: human", "approve: policy")
        return words

    def answered(words: Words) -> Words:
        generate = ("generate", "--home", "server", "--statistics", "plant.wgs")
        scene.run(["wg-server", *generate, "--out", "plant.wgw"])
        return words

    to = str(x25519.Identity.generate().to_public())
    walk(
        commands("plant-guide"),
        scene.run,
        {
            "wg-client init --home plant --join-file token --data logs": of_windows(
                scene, window_encoder
            ),
            "wg-client init --home plant --join-file token --data DIR": scene.joined,
            **NOT_WALKED,
            "wg-client join --home alone": scene.joined_later,
            "wg-client init --home plant-sounds": on_the_budget_of_the_first(
                scene, packages.encoder
            ),
            "wg-client simulate": lambda words: words + small,
            "wg-client simulate --data DIR --labels ok,scratch,dent --offer": scene.offered,
            "wg-client run": person,
            "wg-client requests": scene.named,
            "wg-client statistics --home plant --out": without_a_person,
            "wg-client apply": answered,
            "wg-client backup": lambda words: [to if "age1" in word else word for word in words],
            "wg-client models shadow --home plant PACKAGE": of_package(-1),
            "wg-client models use --home plant PACKAGE": of_package(0),
        },
        {"wg-client apply": (0, 6), "wg-client watch": (0, 6)},
    )
    for made in ("result.csv", "model.onnx"):
        assert Path(made).is_file(), made
    assert [one for one in Path().glob("plant-20??-??-??") if one.is_file()]
    scene.running.check_no_failures()


def test_the_guide_of_an_auditor(scene: Scene) -> None:
    pictures(Path("pictures"))
    scene.token("plant-a")
    join = ("--join-file", "token", "--data", "pictures")
    scene.run(["wg-client", "init", "--home", "plant-a", *join])
    scene.start(["wg-client", "run", "--home", "plant-a", "--once"])
    scene.ask("first models", "--wait")
    scene.running.wait_for_end("plant")
    told: list[str] = []

    def by_telephone(words: Words) -> None:
        found = scene.json(*words)
        told.extend(["--ledger-key", found["sites"][0]["ledger_key"]])
        told.extend(["--witness-key", f"{found['witness_name']}={found['witness_key']}"])

    def wheel(words: Words) -> Words:
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps")
        subprocess.run([*pip, "--no-build-isolation", "--wheel-dir", ".", ROOT], check=True)
        (found,) = Path().glob("*.whl")
        assert found.name == words[-1]
        return words

    said = walk(
        commands("auditor-guide", inline=True),
        scene.run,
        {"wg-server keys": by_telephone, "wg-audit digest --wheel": wheel},
    )
    assert sum(one.startswith("verified") for one in said) == 1
    partly = scene.run(["wg-audit", "verify", "plant-a.wgl", *told], (ExitCode.PARTLY_VERIFIED,))
    assert partly.startswith("partly verified") and "files missing 1" in partly
    assert Path("audit.html").is_file()


def test_a_first_server(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Zoos and trainings are those of the smallest plans; a plant joins the first server."""
    with managed_processes(folder / "processes") as started:
        scene = Scene(folder, started, shell(capfd))

        def quick(words: Words) -> Words:
            smallest = {"default": "quick", "windows": "windows-quick"}
            return [smallest.get(word, word) for word in words]

        def accepted(words: Words) -> None:
            plan = () if "--plan" in words else ("--plan", "quick")
            scene.run([*quick(words), *plan], (0, 6))
            home = words[words.index("--home") + 1]
            (version,) = versions.list_versions(ServerHome(Path(home)))
            scene.run(["wg-server", "generator", "--home", home, "--use", version.id])

        def serve(words: Words) -> None:
            started.start("server", *[word for word in words if word != "&"])
            started.wait_for_log_text("server", "ready")

        def enrolled(words: Words) -> None:
            *words, arrow, file = words
            assert arrow == ">"
            Path(file).write_text(scene.run(words))
            pictures(Path("pictures"))
            join = ("--join-file", file, "--data", "pictures")
            scene.run(["wg-client", "init", "--home", "plant-a", *join])
            scene.start(["wg-client", "run", "--home", "plant-a", "--once"])

        def kept(words: Words) -> Words:
            Path("passphrase").write_text("correct horse battery staple\n")
            return words

        walk(
            commands("first-server"),
            scene.run,
            {
                "wg-server init": lambda words: ["0" if word == "9443" else word for word in words],
                "wg-server zoo build": quick,
                "wg-server train": accepted,
                "wg-server serve": serve,
                "wg-server enroll": enrolled,
                "wg-server backup": kept,
            },
            # The one plant shares its class names with nobody, as the page says.
            {"wg-server campaign start --home server --epsilon 4": (ExitCode.CONFIG,)},
        )
        started.wait_for_end("plant")
    assert Path("server.age").is_file() and Path("evidence").is_dir()
