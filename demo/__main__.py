"""``make demo``: sets up and runs a server and three plants, and shows what came of it."""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from demo import report
from demo.plants import Plant, digit_plants, industrial_plants
from demo.processes import CommandFailed, Processes, processes
from wg_client.methods.names import LOCAL
from wg_client.models import adoption, predict
from wg_client.models.manifest import KEPT, ModelsManifest
from wg_client.site.home import ClientHome
from wg_common import atomic
from wg_common.catalogue import HEAD_WEIGHT
from wg_common.wire import signing, statistics_file, weights_file
from wg_server.generator.heads.generate import generate, load_generator
from wg_server.site.home import ServerHome
from wg_server.zoo.store import Zoo

HERE = Path(__file__).parent
OUT = HERE / "out"
EPSILON = "4"
DELTA = "1e-5"
SEED = 20_260_101
SHOWN_VERSIONS = ("weightgate", "torch", "flwr", "opendp", "dp-accounting", "numpy", "cryptography")

console = Console(stderr=True)


def main() -> int:
    """Run the demo; 0 when every step ended as it should."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder of industrial data sets, instead of scikit-learn's digits"
    )
    parser.add_argument("--quick", action="store_true", help="smaller zoo and shorter training")
    parser.add_argument("--out", type=Path, default=OUT, help="where everything is written")
    options = parser.parse_args()
    try:
        _start_clean(options.out)
        with processes(options.out / "logs") as running:
            summary = _Demo(running, options.out, options.data, quick=options.quick).run()
    except CommandFailed as error:
        console.print(f"[red]demo failed:[/red] {error}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; every process of the demo has been ended")
        return 130
    _show(summary, options.out)
    return 0


class _Demo:
    """The demo's steps, in order; each is timed."""

    def __init__(self, running: Processes, out: Path, data: Path | None, *, quick: bool) -> None:
        self._running = running
        self._out = out
        self._data = data
        self._plan = "quick" if quick else "demo"
        self._server = out / "server"
        self._seconds: dict[str, float] = {}

    def run(self) -> dict[str, Any]:
        """Run every step and return the summary."""
        with self._step("plants' data"):
            plants = self._plants()
        with self._step("server: keys and zoo"):
            port = _free_port()
            self._running.run(
                "wg-server", "init", "--home", self._server,
                "--name", "demo", "--host", "127.0.0.1", "--port", str(port),
            )  # fmt: skip
            self._running.run(
                "wg-server", "zoo", "build", "--home", self._server,
                "--plan", self._plan, "--workers", "2",
            )  # fmt: skip
        with self._step("server: train the generator"):
            self._running.run(
                "wg-server", "train", "--home", self._server, "--plan", self._plan,
                allowed=(0, 6),  # 6: the card fails, and the demo accepts the generator by name
            )  # fmt: skip
            accept = self._acceptance()
        with self._step("enrol the plants"):
            self._running.start("server", "wg-server", "serve", "--home", self._server, *accept)
            self._running.wait_for("server", "ready")
            for plant in plants:
                self._enrol(plant)
        with self._step("statistics out, weights in"):
            for plant in plants:
                self._running.start(
                    plant.name, "wg-client", "run", "--home", self._home(plant), "--once"
                )
            tasks = self._campaign(plants, accept)
        with self._step("evaluate on unseen records"):
            results = [self._evaluate(plant) for plant in plants]
        with self._step("audit"):
            for result, plant in zip(results, plants, strict=True):
                result.update(self._audit(plant, tasks[plant.name]))
        summary = {
            "plants": results,
            "generator": self._generator(plants),
            "seconds": {name: round(value, 2) for name, value in self._seconds.items()},
            "versions": {
                **{name: metadata.version(name) for name in SHOWN_VERSIONS},
                "python": platform.python_version(),
            },
        }
        self._write(summary, plants)
        return summary

    def _plants(self) -> list[Plant]:
        folder = self._out / "data"
        if self._data is None:
            return digit_plants(folder, SEED)
        return industrial_plants(folder, self._data, SEED)

    def _home(self, plant: Plant) -> Path:
        return self._out / plant.name

    def _enrol(self, plant: Plant) -> None:
        token = self._running.json("wg-server", "enroll", "--home", self._server, plant.name)
        join = self._out / f"{plant.name}.token"  # not on the command line, which others can read
        atomic.write_bytes(join, token["token"].encode("ascii"), mode=atomic.PRIVATE)
        self._running.run(
            "wg-client", "init", "--home", self._home(plant), "--join-file", join,
            "--data", plant.data, "--labels", ",".join(plant.classes),
        )  # fmt: skip
        check = self._running.json(
            "wg-client", "check", "--home", self._home(plant), "--epsilon", EPSILON,
            "--delta", DELTA,
        )  # fmt: skip
        leaves, cost = check["would_leave"], check["cost"]
        console.print(
            f"{plant.name}: {check['data']['records']} records stay; {leaves['integers']} noisy "
            f"integers would leave, at epsilon {cost['after']:.3g} of {cost['cap_epsilon']}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip

    def _acceptance(self) -> tuple[str, ...]:
        """Options that accept the generator by name, if its own model card fails."""
        card = json.loads(ServerHome(self._server).model_card.read_text("utf-8"))
        failed = [check["name"] for check in card["checks"] if not check["passed"]]
        if not failed:
            return ()
        console.print(f"generator accepted for the demonstration although it fails: {failed}")
        return ("--accept-generator", str(card["generator"]))

    def _campaign(self, plants: list[Plant], accept: tuple[str, ...]) -> dict[str, Any]:
        """Ask every plant, deliver to every plant; what the server says of each."""
        started = self._running.json(
            "wg-server", "campaign", "start", "--home", self._server,
            "--epsilon", EPSILON, "--delta", DELTA,
            "--purpose", "demonstration", "--sites", ",".join(plant.name for plant in plants),
            *accept,
        )  # fmt: skip
        while True:
            self._running.check()
            shown = self._running.json(
                "wg-server", "campaign", "show", "--home", self._server, started["id"]
            )
            if shown["state"] not in ("queued", "running"):
                break
            time.sleep(0.5)
        if shown["state"] != "done":
            raise CommandFailed(f"campaign: {json.dumps(shown, indent=2)}")
        for plant in plants:  # a plant ends by itself once it has trained and decided
            self._running.wait(plant.name)
        return {task["site"]: task for task in shown["sites"]}

    def _evaluate(self, plant: Plant) -> dict[str, Any]:
        """Accuracy of every model on the plant's test file, which no command has read so far."""
        home = ClientHome(self._home(plant))
        manifest, kept = adoption.in_use(home)
        records = predict.load_records(plant.test, plant.classes, split=None)
        features = predict.encode_records(home, manifest, records)
        right = {
            entry.name: predict.logits(home, manifest, entry.name, features).argmax(1)
            == records.labels
            for entry in manifest.models
        }
        right[KEPT] = right[kept]
        gain = right[kept].astype(float) - right[LOCAL]
        return {
            "name": plant.name,
            "title": plant.title,
            "labels": plant.labelled,
            "classes": list(plant.classes),
            "missing_classes": list(plant.missing),
            "test_records": len(records),
            "accuracy": {
                report.key(n): float(right[n].mean()) for n in report.MODELS if n in right
            },
            "accuracy_se": {report.key(n): _error(right[n]) for n in report.MODELS if n in right},
            "kept_minus_local": {"mean": float(gain.mean()), "se": _error(gain)},
            "kept_source": kept,
        }

    def _audit(self, plant: Plant, task: Mapping[str, Any]) -> dict[str, Any]:
        """What the plant's ledger proves, by the auditor's own computation."""
        home = self._home(plant)
        found = self._running.json("wg-audit", "verify", home)
        self._running.run("wg-audit", "report", home, "--out", home / "audit.html")
        return {
            "epsilon": found["epsilon"]["primary"],
            "epsilon_independent": found["epsilon"]["independent"],
            "epsilon_cap": found["epsilon"]["cap"],
            "delta": found["delta"],
            "bytes_sent": task["bytes_received"],
            "bytes_received": task["bytes_sent"],
            "ledger": {"entries": found["entries"], "verified": found["verified"]},
        }

    def _generator(self, plants: list[Plant]) -> dict[str, Any]:
        """The generator in figures, and how long it takes to make one plant's candidates."""
        home = ServerHome(self._server)
        card = json.loads(home.model_card.read_text("utf-8"))
        distances = [
            float(distance)
            for plant in plants
            for name, distance in self._models(plant).nearest_zoo_distances.items()
            if name.startswith("sample")
        ]
        return {
            "parameters": card["parameters"],
            "zoo_size": card["zoo"]["tasks"],
            "train_seconds": card["training"]["seconds"],
            "sample_seconds": self._sample_seconds(plants[0]),
            "nearest_zoo_distance": min(distances),
            "loses": card["loses"],
        }

    def _sample_seconds(self, plant: Plant) -> float:
        """Seconds to make one plant's candidates from the statistics that it sent."""
        [path] = sorted(ClientHome(self._home(plant)).outbox.glob("*.wgs"))
        covered = statistics_file.decode_covered(path.read_bytes())
        key = signing.load(ClientHome(self._home(plant)).signing_key).public_key()
        _, own = statistics_file.decode_release(covered.release, key)
        home = ServerHome(self._server)
        generator = load_generator(home.generator)
        start = time.monotonic()
        generate(generator, own, (), plant.classes, samples=home.config().samples, seed=SEED)
        return time.monotonic() - start

    def _models(self, plant: Plant) -> ModelsManifest:
        return adoption.in_use(ClientHome(self._home(plant)))[0]

    def _pictures(self, summary: dict[str, Any], plants: list[Plant]) -> dict[str, Figure]:
        zoo = Zoo(ServerHome(self._server).zoo)
        rows = np.concatenate([zoo.read(entry).weight for entry in zoo.entries()])
        key = signing.load(ServerHome(self._server).signing_key).public_key()
        generated = {}
        for plant in plants:
            [path] = ClientHome(self._home(plant)).packages.rglob("*.wgw")
            _, found = weights_file.decode(path.read_bytes(), key)
            generated[plant.name] = np.concatenate(
                [t[HEAD_WEIGHT] for name, t in found.items() if name.startswith("sample")]
            )
        return {
            "accuracy": report.accuracy_picture(summary["plants"]),
            "budget": report.budget_picture(summary["plants"]),
            "weights": report.weights_picture(rows, generated),
        }

    def _write(self, summary: dict[str, Any], plants: list[Plant]) -> None:
        text = json.dumps(summary, indent=2, ensure_ascii=False)
        atomic.write_bytes(self._out / "summary.json", text.encode())
        page = report.page(summary, self._pictures(summary, plants))
        atomic.write_bytes(self._out / "report.html", page.encode())

    @contextlib.contextmanager
    def _step(self, name: str) -> Iterator[None]:
        console.rule(f"[bold]{name}", align="left")
        start = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - start


def _error(values: NDArray[Any]) -> float:
    """Standard error of a mean over records."""
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _start_clean(out: Path) -> None:
    """Remove what an earlier demo left, and nothing that is not a demo's."""
    mark = out / ".weightgate-demo"
    if out.exists():
        if not mark.exists() and any(out.iterdir()):
            raise CommandFailed(f"{out}: not empty, and no earlier demo's folder")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    mark.touch()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _show(summary: dict[str, Any], out: Path) -> None:
    table, models = Table(title="accuracy on unseen records, %"), report.shown(summary["plants"])
    table.add_column("")
    for plant in summary["plants"]:
        table.add_column(plant["name"], justify="right")
    plants = summary["plants"]
    table.add_row("labels", *(str(plant["labels"]) for plant in plants))
    table.add_row("ε", *(f"{plant['epsilon']:.2f}" for plant in plants))
    for name, title in models.items():
        table.add_row(title, *(f"{100 * plant['accuracy'][name]:.1f}" for plant in plants))
    table.add_row("which", *(report.MODELS[plant["kept_source"]] for plant in plants))
    Console(width=110).print(table)
    for path in sorted([*out.glob("*.html"), *out.glob("*/report.html"), out / "summary.json"]):
        Console().print(str(path), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
