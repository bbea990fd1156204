"""The demo's steps: a server and five plants as separate processes, from data to audit."""

import contextlib
import json
import os
import platform
import resource
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from demo import report
from demo.decisions import accept_few_sites
from demo.evaluation import evaluate
from demo.languages import speaks
from demo.plans import write_plans
from demo.plants import CAMERA, OFFLINE, Cut, Plant, industrial, usual
from demo.processes import CommandFailed, Processes, free_port
from wg_core import atomic
from wg_core.errors import ExitCode
from wg_core.language import CODES, ENGLISH, Language, Text, text
from wg_server.generator import versions
from wg_server.generator.versions import Version
from wg_server.generator.weights.head_generation import generate, load_generator
from wg_server.site.home import ServerHome

EPSILON = "4"
NO_EPSILON = "0"  # Class names alone: enough for kinds that the operator knows
DELTA = "1e-5"
CAP = 8.0  # Plants start with it
SEED = 20_260_101
SHOWN_VERSIONS = ("weightgate", "torch", "flwr", "opendp", "dp-accounting", "numpy", "cryptography")
_WORKERS = 2
_LOOK_SECONDS = 3
"""Between looks at a campaign: each is a program that starts, on cores that plants train on."""

console = Console(stderr=True)


class Federation:
    """Runs every step in order, and times each.

    Args:
        running: Starts the commands.
        out: Where everything is written.
        data: Folder of industrial data sets; None for what ships with us.
        speak: The language of what the terminal and ``report.html`` say.
    """

    def __init__(
        self, running: Processes, out: Path, data: Path | None, *, speak: Language = ENGLISH
    ) -> None:
        self._running = running
        self._out = out
        self._data = data
        self._speak = speak
        self._server = out / "server"
        self._seconds: dict[str, float] = {}
        self._processor: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Run every step and return the summary."""
        with self._step(text("plants' data")):
            cut = self._cut()
            zoo_plan, training_plan = write_plans(self._out, cut)
        plants = cut.plants
        connected = [plant for plant in plants if plant.story != OFFLINE]
        [carried] = [plant for plant in plants if plant.story == OFFLINE]
        with self._step(text("server: keys and zoo")):
            self._running.run(
                "wg-server", "init", "--home", self._server,
                "--name", "demo", "--host", "127.0.0.1", "--port", str(free_port()),
            )  # fmt: skip
            self._running.run(
                "wg-server", "zoo", "build", "--home", self._server,
                "--plan", zoo_plan, "--workers", str(_WORKERS),
            )  # fmt: skip
        with self._step(text("server: train the generator; plants enrol meanwhile")):
            self._say(text("training: {log}", log=self._running.log("train")))
            self._running.start(
                "train", "wg-server", "train", "--home", self._server, "--plan", training_plan,
                allowed=(0, 6),  # 6: a card fails, and the demo accepts the generator by name
            )  # fmt: skip
            self._running.start("server", "wg-server", "serve", "--home", self._server)
            self._running.wait_for("server", "ready")
            self._enrol(plants, carried)
            self._running.wait("train")
            self._accept()
        with self._step(text("statistics out, weights in")):
            for plant in connected:
                self._running.start(
                    plant.name, "wg-client", "run", "--home", self._home(plant), "--once",
                    aside=True,
                )  # fmt: skip
            campaigns = self._asked(connected, carried)
            traffic = {carried.name: self._applied(carried)}
            for campaign in campaigns:
                traffic |= self._delivered(campaign)
            for plant in connected:  # it ends by itself once it has trained and decided
                self._running.wait(plant.name)
        with self._step(text("test on unseen records")):
            self._decide(plants)
            results = self._evaluate(plants)
        with self._step(text("audit")):
            for result, found in zip(results, self._audit(plants), strict=True):
                result.update(found | traffic[result["name"]])
        summary = {
            "stories": [result["story"] for result in results],
            "plants": results,
            "source": cut.source,
            "generator": self._generator(connected[0]),
            "seconds": _rounded(self._seconds),
            "processor_seconds": _rounded(self._processor),
            "versions": {
                **{name: metadata.version(name) for name in SHOWN_VERSIONS},
                "python": platform.python_version(),
            },
        }
        self._write(summary, plants)
        return summary

    def _cut(self) -> Cut:
        folder = self._out / "data"
        if self._data is None:
            return usual(folder, SEED)
        return industrial(folder, self._data, SEED)

    def _home(self, plant: Plant) -> Path:
        return self._out / plant.name

    def _sent(self, plant: Plant) -> Path:
        return self._out / f"{plant.name}.wgs"

    def _received(self, plant: Plant) -> Path:
        return self._out / f"{plant.name}.wgw"

    def _enrol(self, plants: tuple[Plant, ...], offline: Plant) -> None:
        """Enrol all plants, and let the one without a connection write its statistics to a file."""
        joins = []
        for plant in plants:
            token = self._running.json("wg-server", "enroll", "--home", self._server, plant.name)
            join = self._out / f"{plant.name}.token"  # not on a command line: others can read that
            atomic.write_bytes(join, token["token"].encode("ascii"), mode=atomic.PRIVATE)
            joins.append(join)
        self._running.run_all(
            *(
                (
                    "wg-client", "init", "--home", self._home(plant), "--join-file", join,
                    "--data", plant.data, "--labels", ",".join(plant.classes),
                )
                for plant, join in zip(plants, joins, strict=True)
            ),
            aside=True,  # the training takes longer
        )  # fmt: skip
        first = plants[0]  # what it would be told, every other one would be told too
        told, _ = self._running.run_all(
            (
                "wg-client", "check", "--home", self._home(first), "--epsilon", EPSILON,
                "--delta", DELTA, "--json",
            ),
            (
                "wg-client", "statistics", "--home", self._home(offline), "--out",
                self._sent(offline), "--epsilon", NO_EPSILON,
            ),
            aside=True,
        )  # fmt: skip
        check = json.loads(told)
        leaves, cost = check["would_leave"], check["cost"]
        self._say(
            text(
                "{name}: {records} records stay; {integers} noisy integers would leave, at epsilon"
                " {after:.3g} of {cap}",
                name=first.name,
                records=check["data"]["records"],
                integers=leaves["integers"],
                after=cost["after"],
                cap=cost["cap_epsilon"],
            )
        )

    def _installed(self) -> Version:
        """The generator that is in use."""
        return versions.installed_version(ServerHome(self._server))

    def _accept(self) -> None:
        """Install the generator that was trained, whatever its card says, as an operator would."""
        home = ServerHome(self._server)
        version = versions.present(home)[0]
        if failed := [check.name for check in version.failed()]:
            self._say(
                text(
                    "accepted for the demonstration although its card fails: {failed}",
                    failed=", ".join(failed),
                )
            )
            self._running.run("wg-server", "generator", "--home", home.root, "--use", version.id)

    def _asked(self, plants: list[Plant], offline: Plant) -> list[str]:
        """Start a campaign for each price, and make weights of a file meanwhile; their names."""
        names_by_price: dict[str, list[str]] = {EPSILON: [], NO_EPSILON: []}
        for plant in plants:
            names_by_price[NO_EPSILON if plant.story == CAMERA else EPSILON].append(plant.name)
        *started, _ = self._running.run_all(
            *(
                (
                    "wg-server", "campaign", "start", "--home", self._server,
                    "--epsilon", epsilon, "--delta", DELTA, "--purpose", "demonstration",
                    "--sites", ",".join(names), "--json",
                )
                for epsilon, names in names_by_price.items()
            ),
            (
                "wg-server", "generate", "--home", self._server,
                "--statistics", self._sent(offline), "--out", self._received(offline),
            ),
        )  # fmt: skip
        return [str(json.loads(document)["id"]) for document in started]

    def _applied(self, plant: Plant) -> dict[str, int]:
        """Carry the file back to the plant without a connection; sizes of both files."""
        sent, received = self._sent(plant), self._received(plant)
        self._running.run(
            "wg-client", "apply", "--home", self._home(plant), received,
            allowed=(0, 6),  # 6: the plant's own model was better
        )  # fmt: skip
        return {"bytes_sent": sent.stat().st_size, "bytes_received": received.stat().st_size}

    def _delivered(self, campaign: str) -> dict[str, dict[str, int]]:
        """Wait until a campaign is done; what the server says of each plant's bytes."""
        while True:
            self._running.check()
            shown = self._running.json(
                "wg-server", "campaign", "show", "--home", self._server, campaign
            )
            if shown["state"] not in ("queued", "running"):
                break
            time.sleep(_LOOK_SECONDS)
        if shown["state"] != "done":
            raise CommandFailed(f"campaign: {json.dumps(shown, indent=2)}")
        return {
            task["site"]: {
                "bytes_sent": task["bytes_received"],
                "bytes_received": task["bytes_sent"],
            }
            for task in shown["sites"]
        }

    def _decide(self, plants: tuple[Plant, ...]) -> None:
        """Accept, as engineers would, what waits since few plants stand behind a class."""
        names = list(accept_few_sites(self._running, [self._home(plant) for plant in plants]))
        if names:
            self._say(
                text(
                    "accepted by an engineer, since fewer than three other plants stand behind a"
                    " class: {plants}",
                    plants=", ".join(names),
                )
            )

    def _evaluate(self, plants: tuple[Plant, ...]) -> list[dict[str, Any]]:
        # Started afresh, with one thread each: two of them do not wait for one another.
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as pool:
            return list(pool.map(evaluate, [self._home(plant) for plant in plants], plants))

    def _audit(self, plants: tuple[Plant, ...]) -> list[dict[str, Any]]:
        """What an auditor finds who has each plant's ledger and the server's folder."""
        evidence = self._out / "evidence"
        sites = [word for plant in plants for word in ("--site", plant.name)]
        self._running.run("wg-server", "export", "--home", self._server, "--out", evidence, *sites)
        homes = [self._home(plant) for plant in plants]
        found = self._running.run_all(
            *(
                (
                    "wg-audit", "verify", home, "--server", evidence,
                    "--report", home / "audit.html", "--json",
                )
                for home in homes
            ),
            allowed=(ExitCode.OK, ExitCode.PARTLY_VERIFIED),
        )  # fmt: skip
        return [
            {
                "epsilon": each["epsilon"]["primary"],
                "epsilon_independent": each["epsilon"]["independent"],
                "epsilon_cap": each["epsilon"]["cap"] or CAP,
                "delta": each["delta"] or float(DELTA),
                "ledger": {
                    "entries": each["entries"],
                    "verified": each["verified"],
                    "verdict": each["verdict"]["word"],
                },
            }
            for each in map(json.loads, found)
        ]

    def _generator(self, plant: Plant) -> dict[str, Any]:
        """The generator in figures, and how long it takes to make one plant's candidates."""
        card = self._installed().card
        return {
            "zoo_size": card["zoo"]["tasks"],
            "train_seconds": card["seconds"],
            "sample_seconds": self._sample_seconds(plant),
        }

    def _sample_seconds(self, plant: Plant) -> float:
        """Seconds to make one plant's candidates."""
        generator = load_generator(self._installed().heads)
        start = time.monotonic()
        generate(generator, (), plant.classes)
        return time.monotonic() - start

    def _write(self, summary: dict[str, Any], plants: tuple[Plant, ...]) -> None:
        written = json.dumps(summary, indent=2, ensure_ascii=False)
        atomic.write_bytes(self._out / "summary.json", written.encode())
        samples = {plant.name: report.samples(plant.data) for plant in plants}
        for each in map(speaks, CODES):
            page = report.page(summary, samples, each).encode()
            atomic.write_bytes(self._out / f"report.{each.code}.html", page)
            if each.code == self._speak.code:
                atomic.write_bytes(self._out / "report.html", page)

    def _say(self, sentence: Text) -> None:
        console.print(self._speak(sentence), highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def _step(self, name: Text) -> Iterator[None]:
        console.rule(f"[bold]{self._speak(name)}", align="left")
        start, before = time.monotonic(), _processor_seconds()
        yield
        self._seconds[name] = time.monotonic() - start
        self._processor[name] = _processor_seconds() - before


def _processor_seconds() -> float:
    """Of this process, and of commands that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}
