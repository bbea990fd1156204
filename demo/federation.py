"""Steps of the demo: two servers and their plants as separate processes, from data to audit."""

import contextlib
import json
import os
import platform
import resource
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console

from demo import exchangers, machines, report, sensors
from demo.decisions import accept_few_sites
from demo.evaluation import evaluate
from demo.languages import load_demo_language
from demo.plans import write_plans
from demo.plants import BUDGET, CAMERA, DemoData, Plant, write_data
from demo.processes import CommandFailed, Processes, free_port
from wg_common.language import ENGLISH, LANGUAGE_CODES, Language, Text, text
from wg_core import atomic
from wg_core.errors import ExitCode
from wg_server.generator import versions
from wg_server.generator.versions import GeneratorVersion
from wg_server.generator.weights.head_generation import generate_heads, load_head_generator
from wg_server.site.home import ServerHome

EPSILON = "4"
NO_EPSILON = "0"  # Only class names and the data sheet leave, and nothing is charged
DELTA = "1e-5"
EPSILON_CAP = 8.0  # Epsilon cap that ``wg-client init`` sets
SEED = 20_260_101
SHOWN_VERSIONS = ("weightgate", "torch", "flwr", "opendp", "dp-accounting", "numpy", "cryptography")
_WINDOW_OPTIONS = (
    "--time-column", "time", "--window", str(exchangers.SAMPLES * exchangers.SECONDS),
)  # fmt: skip
_WORKERS = 2
_LOOK_SECONDS = 10
"""Seconds between two queries of a campaign's state; each query starts a process."""

console = Console(stderr=True)


class Federation:
    """The demo's servers and plants; runs all steps in order, and measures their times.

    Args:
        processes: Processes of the ``wg-*`` commands.
        output_folder: Output folder.
        language: Language of the terminal and of ``report.html``.
    """

    def __init__(
        self, processes: Processes, output_folder: Path, *, language: Language = ENGLISH
    ) -> None:
        self._running = processes
        self._out = output_folder
        self._speak = language
        self._pictures, self._machines = output_folder / "server", output_folder / "machines-server"
        self._told: dict[str, bool] = {}
        self._seconds: dict[str, float] = {}
        self._processor: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Run every step, and return the contents of ``summary.json``."""
        with self._timed_step(text("plants' data")):
            shares = write_data(self._out / "data", SEED)
            pictures_zoo, windows_zoo, training = write_plans(self._out, shares)
        plants = shares.story_plants
        with self._timed_step(text("servers: keys and zoos")):
            homes = self._pictures, self._machines
            self._running.run_all(*(self._init_command(home) for home in homes))
            self._running.start(
                "zoo-server", *self._zoo_command(self._pictures, pictures_zoo),
                at_low_priority=True,  # the machines' training, which follows below, takes longer
            )  # fmt: skip
            self._running.run(*self._zoo_command(self._machines, windows_zoo))
            self._start_training(self._machines, training)
            self._running.wait_for_end("zoo-server")
        with self._timed_step(text("servers: train the generators; plants enrol meanwhile")):
            self._start_training(self._pictures, training)
            self._enrol(shares)
            self._install_trained_generator(self._pictures)
        with self._timed_step(text("statistics out, weights in")):
            self._make_packages(self._pictures, shares.helpers)
            for plant in shares.picture_plants:
                self._running.start(
                    plant.name, "wg-client", "run", "--home", self._home(plant), "--once",
                    at_low_priority=True,
                )  # fmt: skip
            campaigns = self._start_campaigns(shares.picture_plants)
            self._install_trained_generator(self._machines)
            traffic = {shares.machine.name: self._exchange_files(shares.machine)}
            traffic[shares.exchanger.name] = self._run_soft_sensors(shares.exchanger)
            for campaign in campaigns:
                traffic |= self._wait_for_delivery(campaign)
            for plant in shares.picture_plants:  # it exits after training and selection
                self._running.wait_for_end(plant.name)
        with self._timed_step(text("test on unseen records")):
            self._accept_held_back_models((shares.machine, *shares.picture_plants))
            results = self._evaluate(shares)
        with self._timed_step(text("audit")):
            for result, found in zip(results, self._audit(shares), strict=True):
                result.update(found | traffic[result["name"]])
        summary = {
            "plants": results,
            "generator": self._generator_figures(shares.picture_plants[0]),
            "seconds": _round_values(self._seconds),
            "processor_seconds": _round_values(self._processor),
            "versions": {
                **{name: metadata.version(name) for name in SHOWN_VERSIONS},
                "python": platform.python_version(),
            },
        }
        self._write_summary_and_reports(summary, plants)
        return summary

    def _start_training(self, home: Path, plan: Path) -> None:
        """Start the training of a server's generator, and the server itself; wait until it runs."""
        log = f"train-{home.name}"
        self._print_sentence(text("training: {log}", log=self._running.log_path(log)))
        self._running.start(
            log, "wg-server", "train", "--home", home, "--plan", plan, "--workers", str(_WORKERS),
            allowed_exit_codes=(0, 6),  # 6: a card fails; the demo accepts it by name
        )  # fmt: skip
        self._running.start(home.name, "wg-server", "serve", "--home", home)
        self._running.wait_for_log_text(home.name, "ready")

    def _init_command(self, home: Path) -> tuple[str | Path, ...]:
        return (
            "wg-server", "init", "--home", home, "--name", home.name,
            "--host", "127.0.0.1", "--port", str(free_port()),
        )  # fmt: skip

    def _zoo_command(self, home: Path, plan: Path) -> tuple[str | Path, ...]:
        return (
            "wg-server", "zoo", "build", "--home", home, "--plan", plan,
            "--workers", str(_WORKERS),
        )  # fmt: skip

    def _home(self, plant: Plant) -> Path:
        return self._out / plant.name

    def _release_file(self, plant: Plant) -> Path:
        return self._out / f"{plant.name}.wgs"

    def _package_file(self, plant: Plant) -> Path:
        return self._out / f"{plant.name}.wgw"

    def _values_file(self, plant: Plant) -> Path:
        return self._out / f"{plant.name}-values.csv"

    def _without_statistic(self, plant: Plant) -> Plant:
        """Return a plant under another name, for the files that are made without its statistic."""
        return replace(plant, name=f"{plant.name}-none")

    def _enrol(self, shares: DemoData) -> None:
        """Enrol all plants; those outside the campaigns also write their statistics files."""
        plants = (*shares.story_plants, *shares.helpers)
        joins = []
        for plant in plants:
            server = self._pictures if plant.data_sheet_file is None else self._machines
            token = self._running.run_json("wg-server", "enroll", "--home", server, plant.name)
            join = self._out / f"{plant.name}.token"  # not on a command line: others can read that
            atomic.write_bytes(join, token["token"].encode("ascii"), mode=atomic.PRIVATE_FILE_MODE)
            joins.append(join)
        self._running.run_all(
            *(
                (
                    "wg-client", "init", "--home", self._home(plant), "--join-file", join,
                    "--data", plant.data_file, "--labels", ",".join(plant.classes),
                    *(
                        ()
                        if plant.data_sheet_file is None
                        else ("--data-sheet", plant.data_sheet_file)
                    ),
                    *(() if plant.test_log_file is None else _WINDOW_OPTIONS),
                )
                for plant, join in zip(plants, joins, strict=True)
            ),
            at_low_priority=True,  # the training takes longer
        )  # fmt: skip
        asked = [plant for plant in shares.picture_plants if plant.story_key == BUDGET]
        *told, _ = self._running.run_all(
            *(self._check_command(plant) for plant in asked),
            *(self._statistics_command(plant, "classes", EPSILON) for plant in shares.helpers),
            self._statistics_command(shares.machine, "classes", NO_EPSILON),
            self._statistics_command(shares.exchanger, "machine", f"{sensors.EPSILON:g}"),
            at_low_priority=True,
        )
        check = json.loads(told[0])
        self._told = {asked[0].name: any("keep your budget" in hint for hint in check["hints"])}
        leaves, cost = check["would_leave"], check["cost"]
        self._print_sentence(
            text(
                "{name}: {records} records stay; {integers} noisy integers would leave, at epsilon"
                " {after:.3g} of {cap}",
                name=asked[0].name,
                records=check["data"]["records"],
                integers=leaves["integers"],
                after=cost["after"],
                cap=cost["cap_epsilon"],
            )
        )

    def _check_command(self, plant: Plant) -> tuple[str | Path, ...]:
        return (
            "wg-client", "--language", "en", "check", "--home", self._home(plant),
            "--epsilon", EPSILON, "--delta", DELTA, "--json",
        )  # fmt: skip

    def _statistics_command(
        self, plant: Plant, statistics: str, epsilon: str
    ) -> tuple[str | Path, ...]:
        return (
            "wg-client", "statistics", "--home", self._home(plant),
            "--out", self._release_file(plant), "--of", statistics,
            "--epsilon", epsilon, "--delta", DELTA,
        )  # fmt: skip

    def _make_packages(self, server: Path, plants: Sequence[Plant]) -> None:
        """Make the weights package of each plant from its statistics file, at a server."""
        self._running.run_all(
            *(
                (
                    "wg-server", "generate", "--home", server,
                    "--statistics", self._release_file(plant), "--out", self._package_file(plant),
                )
                for plant in plants
            )
        )  # fmt: skip

    def _installed_generator(self) -> GeneratorVersion:
        """Return the generator that is installed on the server for pictures."""
        return versions.installed_version(ServerHome(self._pictures))

    def _install_trained_generator(self, root: Path) -> None:
        """Wait for a server's training, and install the generator even if its card failed."""
        self._running.wait_for_end(f"train-{root.name}")
        home = ServerHome(root)
        version = versions.list_versions(home)[0]
        if failed := [check.name for check in version.failed_checks()]:
            self._print_sentence(
                text(
                    "accepted for the demonstration although its card fails: {failed}",
                    failed=", ".join(failed),
                )
            )
            self._running.run("wg-server", "generator", "--home", home.root, "--use", version.id)

    def _start_campaigns(self, plants: Sequence[Plant]) -> list[str]:
        """Start one campaign at ``EPSILON`` and one at 0; return the campaigns' ids."""
        names_by_price: dict[str, list[str]] = {EPSILON: [], NO_EPSILON: []}
        for plant in plants:
            is_free = plant.story_key in (CAMERA, BUDGET)
            names_by_price[NO_EPSILON if is_free else EPSILON].append(plant.name)
        started = self._running.run_all(
            *(
                (
                    "wg-server", "campaign", "start", "--home", self._pictures,
                    "--epsilon", epsilon, "--delta", DELTA, "--purpose", "demonstration",
                    "--sites", ",".join(names), "--unshared", "--json",
                )
                for epsilon, names in names_by_price.items()
            ),
        )  # fmt: skip
        return [str(json.loads(document)["id"]) for document in started]

    def _exchange_files(self, plant: Plant) -> dict[str, int]:
        """Make and apply a plant's package by files; return the bytes that it sent and received."""
        sent, received = self._release_file(plant), self._package_file(plant)
        self._make_packages(self._machines, [plant])
        self._running.run(
            "wg-client", "apply", "--home", self._home(plant), received,
            allowed_exit_codes=(0, 6),  # 6: the plant's own model was better
        )  # fmt: skip
        return {"bytes_sent": sent.stat().st_size, "bytes_received": received.stat().st_size}

    def _run_soft_sensors(self, plant: Plant) -> dict[str, int]:
        """Estimate heat duty by soft sensors with and without the plant's statistic.

        Returns the bytes that the plant sent and received for the one with its statistic.
        """
        home, none = self._home(plant), self._without_statistic(plant)
        self._running.run(
            "wg-client", "statistics", "--home", home, "--out", self._release_file(none),
            "--epsilon", NO_EPSILON,
        )  # fmt: skip
        self._make_packages(self._machines, [plant, none])
        for made in (plant, none):
            self._running.run(
                "wg-client", "soft-sensor", plant.test_log_file or plant.data_file, "--time",
                "time", "--target", sensors.COLUMN, "--home", home,
                "--package", self._package_file(made), "--out", self._values_file(made),
            )  # fmt: skip
        sent, received = self._release_file(plant), self._package_file(plant)
        return {"bytes_sent": sent.stat().st_size, "bytes_received": received.stat().st_size}

    def _wait_for_delivery(self, campaign: str) -> dict[str, dict[str, int]]:
        """Wait until a campaign is done; return the bytes sent and received, by plant."""
        while True:
            self._running.check_no_failures()
            shown = self._running.run_json(
                "wg-server", "campaign", "show", "--home", self._pictures, campaign
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

    def _accept_held_back_models(self, plants: tuple[Plant, ...]) -> None:
        """Accept models that are held back because few plants support a class, as engineers may."""
        names = list(accept_few_sites(self._running, [self._home(plant) for plant in plants]))
        if names:
            self._print_sentence(
                text(
                    "accepted by an engineer, because fewer than three other plants agree on a "
                    "class: {plants}",
                    plants=", ".join(names),
                )
            )

    def _evaluate(self, shares: DemoData) -> list[dict[str, Any]]:
        # Started afresh, with one thread each: two of them do not wait for one another.
        os.environ["OMP_NUM_THREADS"] = "1"
        plants = (shares.machine, *shares.picture_plants)
        homes = [self._home(plant) for plant in plants]
        fixed = machines.fixed_network_answers(self._machines, shares.machine)
        with ProcessPoolExecutor(_WORKERS, mp_context=get_context("spawn")) as pool:
            counted = pool.map(
                evaluate, homes, plants, [fixed, *[None] * len(shares.picture_plants)]
            )
            unit = shares.exchanger
            paths = self._values_file(unit), self._values_file(self._without_statistic(unit))
            of_unit = sensors.evaluate(
                unit, *paths, sensors.measure_soft_sensors(self._machines, SEED)
            )
            machine, *pictures = counted
        machine["takes_statistic"] = machines.takes_statistic(self._machines)
        return [
            found | {"told": self._told.get(found["name"], False)}
            for found in (machine, of_unit, *pictures)
        ]

    def _audit(self, shares: DemoData) -> list[dict[str, Any]]:
        """Audit each plant's ledger with its server's evidence; return one result per plant."""
        evidence: dict[str, Path] = {}
        for server, plants in (
            (self._machines, (shares.machine, shares.exchanger)),
            (self._pictures, shares.picture_plants),
        ):  # fmt: skip
            folder = self._out / f"evidence-{server.name}"
            sites = [word for plant in plants for word in ("--site", plant.name)]
            self._running.run("wg-server", "export", "--home", server, "--out", folder, *sites)
            evidence |= {plant.name: folder for plant in plants}
        found = self._running.run_all(
            *(
                (
                    "wg-audit", "verify", self._home(plant), "--server", evidence[plant.name],
                    "--report", self._home(plant) / "audit.html", "--json",
                )
                for plant in shares.story_plants
            ),
            allowed_exit_codes=(ExitCode.OK, ExitCode.PARTLY_VERIFIED),
        )  # fmt: skip
        return [
            {
                "epsilon": each["epsilon"]["primary"],
                "epsilon_independent": each["epsilon"]["independent"],
                "epsilon_cap": each["epsilon"]["cap"] or EPSILON_CAP,
                "delta": each["delta"] or float(DELTA),
                "ledger": {
                    "entries": each["entries"],
                    "verified": each["verified"],
                    "verdict": each["verdict"]["word"],
                },
            }
            for each in map(json.loads, found)
        ]

    def _generator_figures(self, plant: Plant) -> dict[str, Any]:
        """Return the zoo's size, and the seconds of training and of one plant's candidates."""
        card = self._installed_generator().card
        return {
            "zoo_size": card["zoo"]["tasks"],
            "train_seconds": card["seconds"],
            "sample_seconds": self._sample_seconds(plant),
        }

    def _sample_seconds(self, plant: Plant) -> float:
        """Measure the seconds that one plant's candidates take."""
        generator = load_head_generator(self._installed_generator().heads_path)
        start = time.monotonic()
        generate_heads(generator, (), plant.classes)
        return time.monotonic() - start

    def _write_summary_and_reports(
        self, summary: dict[str, Any], plants: tuple[Plant, ...]
    ) -> None:
        written = json.dumps(summary, indent=2, ensure_ascii=False)
        atomic.write_bytes(self._out / "summary.json", written.encode())
        samples = {plant.name: report.sample_picture(plant.data_file) for plant in plants}
        for each in map(load_demo_language, LANGUAGE_CODES):
            page = report.render_page(summary, samples, each).encode()
            atomic.write_bytes(self._out / f"report.{each.code}.html", page)
            if each.code == self._speak.code:
                atomic.write_bytes(self._out / "report.html", page)

    def _print_sentence(self, sentence: Text) -> None:
        console.print(self._speak(sentence), highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def _timed_step(self, name: Text) -> Iterator[None]:
        console.rule(f"[bold]{self._speak(name)}", align="left")
        start, before = time.monotonic(), _processor_seconds()
        yield
        self._seconds[name] = time.monotonic() - start
        self._processor[name] = _processor_seconds() - before


def _processor_seconds() -> float:
    """Return the processor seconds of this process and of its commands that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _round_values(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 2) for name, value in values.items()}
