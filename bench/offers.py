"""Verdicts of ``simulate --offer`` compared with the models that ``apply`` then selects.

    python -m bench.offers --home PICTURES --machines WINDOWS --sets SETS

Twenty plants are cut from real data sets and simulated machines: of kinds that the operator has
(``family_sets``: the other part of the records is in the zoo), with sister plants that release at
epsilon 4, of unknown kinds, and with data sheets. Each runs the product's commands in one process,
with a running server: ``wg-server offer``, ``wg-client simulate --offer``, ``init``,
``statistics``, ``wg-server generate``, ``wg-client apply``. Statistics have epsilon 4 if the
verdict is pooling, otherwise epsilon 0. The gain over local-only is measured on test records that
no command has read.

A verdict agrees if delivered weights were selected after *free weights*, *data sheet* or *pooling*,
and the plant's own model, or none, after *your own* or *wait*. Ten plants were chosen in advance
for inspection when causes are analysed; for the other ten only results are shown.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from bench import machine_drawing, optics, plants
from bench.rows import Row, Rows, write_table
from bench.tables import markdown
from click.testing import CliRunner
from numpy.typing import NDArray

from wg_client.cli.main import group as client
from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import adoption, predict
from wg_client.simulate.verdict import PilotVerdict
from wg_core.errors import NotAcceptedError, WgError
from wg_core.site.home import ClientHome
from wg_core.wire import canonical
from wg_server.cli.main import main_group as server

EPSILON, FREE = "4", "0"
CLASSES, RECORDS, TESTS = 8, 15, 200  # Classes at most, records of each at a plant, test records
FEWEST_PER_CLASS, ATTEMPTS = (
    3,
    50,
)  # Fewest records of a class on each side of the cut; cuts that are tried
SISTERS, SISTER_RECORDS = 3, 40  # Number of sisters, and their records of a class
WAIT_SECONDS = 60
DELIVERED = (PilotVerdict.FREE_WEIGHTS, PilotVerdict.DATA_SHEET, PilotVerdict.POOLING)

Ints = NDArray[np.int64]
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """Simulated plant.

    Attributes:
        kind: Kind of the plant, in the table.
        dataset: Data set, or ``bearing`` for a simulated one.
        shots: Number of labels per class.
        unseen: Number of classes without a record at the plant.
        has_sisters: True if other plants with its classes release.
        is_renamed: True if its class names differ from the operator's.
        has_camera: True if its camera is one of ``bench.optics``.
        sheet: ``own``, ``another`` machine's, or none.
        is_inspected: True if it may be inspected when causes are analysed.
    """

    kind: str
    dataset: str
    shots: int
    unseen: int = 0
    has_sisters: bool = False
    is_renamed: bool = False
    has_camera: bool = False
    sheet: str = ""
    is_inspected: bool = False

    @property
    def is_of_machine(self) -> bool:
        """True if its records are windows of a machine."""
        return self.dataset in WINDOWS


KNOWN, SISTER, STRANGER, SHEET = "known kind", "others of its kind", "unknown kind", "data sheet"
WINDOWS = "bearing", "cwru_de", "plaid"
PLANTS = (
    Plant(kind=KNOWN, dataset="neu_det", shots=5, is_inspected=True),
    Plant(kind=KNOWN, dataset="neu_det", shots=5, has_camera=True),
    Plant(kind=KNOWN, dataset="trashnet", shots=5),
    Plant(kind=KNOWN, dataset="trashnet", shots=5, is_renamed=True, is_inspected=True),
    Plant(kind=KNOWN, dataset="deeppcb_a", shots=5, is_inspected=True),
    Plant(kind=KNOWN, dataset="mnist10k", shots=3),
    Plant(kind=KNOWN, dataset="cifar10", shots=15, is_inspected=True),
    Plant(kind="known names, other records", dataset="digits", shots=5),
    Plant(
        kind=SISTER, dataset="fashion_mnist", shots=15, unseen=3, has_sisters=True,
        is_inspected=True,
    ),
    Plant(kind=SISTER, dataset="fashion_mnist", shots=0, has_sisters=True),
    Plant(kind=SISTER, dataset="gtsrb", shots=15, unseen=2, has_sisters=True),
    Plant(kind=SISTER, dataset="magnetic_tile", shots=15, has_sisters=True, is_inspected=True),
    Plant(kind=SISTER, dataset="bridge_crack", shots=5, has_sisters=True),
    Plant(kind=STRANGER, dataset="elpv_mono", shots=15, is_inspected=True),
    Plant(kind=STRANGER, dataset="omniglot_small", shots=5),
    Plant(kind=STRANGER, dataset="tiny_imagenet", shots=15),
    Plant(kind=STRANGER, dataset="plaid", shots=5, is_inspected=True),
    Plant(kind=SHEET, dataset="bearing", shots=5, sheet="own", is_inspected=True),
    Plant(kind=SHEET, dataset="bearing", shots=5, sheet="another"),
    Plant(kind=SHEET, dataset="cwru_de", shots=5, sheet="own", is_inspected=True),
)  # fmt: skip


def main() -> None:
    """Run the missing plants, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, help="home of pictures, with own kinds in its zoo")
    parser.add_argument("--machines", type=Path, help="home of windows that reads data sheets")
    parser.add_argument("--sets", type=Path, required=True, help="folder of bench.family_sets")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--work", type=Path, default=Path("bench/out/offers"))
    parser.add_argument("--results", type=Path, default=Path("bench/out/offers.jsonl"))
    parser.add_argument("--only-looked-at", action="store_true")
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = Rows(options.results)
    for home, is_of_machines in ((options.home, False), (options.machines, True)):
        if home is not None:
            run(home, is_of_machines, options, rows)
    write_table("\n".join(table(rows.with_prefix())), options.table)


def run(home: Path, is_of_machines: bool, options: argparse.Namespace, rows: Rows) -> None:
    """Run the missing plants for a server's home, on a copy of the home."""
    asked = {
        f"{number} {plant.kind} {plant.dataset}": (number, plant)
        for number, plant in enumerate(PLANTS, start=1)
        if plant.is_of_machine == is_of_machines
        and (plant.is_inspected or not options.only_looked_at)
    }
    missing = {key: each for key, each in asked.items() if key not in rows}
    if not missing:
        return
    root = options.work / ("machines" if is_of_machines else "pictures")
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(home, root / "server")
    with running_server(root / "server"):
        walk = CommandRuns(root, options)
        for key, (number, plant) in missing.items():
            rows.add({"key": key, "number": number, **walk.run_plant(number, plant)})
            print(key, flush=True)


@contextmanager
def running_server(home: Path) -> Iterator[None]:
    """Run a server during the body."""
    log = home.parent / "serve.log"
    words = [str(Path(sys.executable).with_name("wg-server")), "serve", "--home", str(home)]
    with log.open("wb") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out)
        try:
            end = time.monotonic() + WAIT_SECONDS
            while b"ready" not in log.read_bytes():
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the server does not run: {log}")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait()


def run_command(program: click.Command, *arguments: object) -> Any:
    """Run a command of the product in this process; return its document."""
    outcome = CliRunner().invoke(program, [*map(str, arguments), "--json"], standalone_mode=False)
    if outcome.exception is not None:
        raise outcome.exception
    return json.loads(outcome.stdout)


class CommandRuns:
    """Runs of plants through the product's commands.

    Args:
        root: Folder of the server and of the plants.
        options: Options of the program.
    """

    def __init__(self, root: Path, options: argparse.Namespace) -> None:
        self._root, self._options = root, options
        self._server = root / "server"
        self._released: set[str] = set()

    def run_plant(self, number: int, plant: Plant) -> Row:
        """Run one plant through all commands, and return its results."""
        records = draw_records(plant, number, self._options)
        if plant.has_sisters and plant.dataset not in self._released:
            for sister, arrays in enumerate(records.sisters, start=1):
                self._release(f"{plant.dataset.replace('_', '-')}-{sister}", arrays, EPSILON)
            self._released.add(plant.dataset)
        name, folder = f"plant-{number}", self._root / f"plant-{number}"
        folder.mkdir()
        np.savez(folder / "data.npz", **records.own)  # type: ignore[arg-type]
        np.savez(folder / "test.npz", **records.test)  # type: ignore[arg-type]
        data: list[object] = ["--data", folder / "data.npz"]
        if records.has_units:
            data += ["--unit-column", "group"]
        if records.sheet is not None:
            (folder / "sheet.json").write_bytes(canonical.encode(records.sheet))
            data += ["--data-sheet", folder / "sheet.json"]
        offer = run_command(server, "offer", "--home", self._server, "--out", folder / "hq.wgo")
        encoder = ["--encoder", offer["encoder"]]
        said = run_command(client, "simulate", *data, "--offer", folder / "hq.wgo", *encoder)
        is_charged = said["verdict"] == PilotVerdict.POOLING
        home = self._init(name, data)
        kept = self._apply(name, EPSILON if is_charged else FREE)
        return {
            "kind": plant.kind,
            "dataset": plant.dataset,
            "looked at": plant.is_inspected,
            "plant": _describe_plant(plant),
            "verdict": said["verdict"],
            "local": None if said["local"] is None else said["local"]["mean"],
            "offer": said["offer"],
            "expected": said["expected"],
            "charged": is_charged,
            **kept,
            **measure_accuracy(home, folder / "test.npz", records.labels),
        }

    def _release(self, name: str, arrays: Arrays, epsilon: str) -> None:
        np.savez(self._root / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        self._init(name, ["--data", self._root / f"{name}.npz"])
        self._generated(name, epsilon)

    def _init(self, name: str, data: Sequence[object]) -> ClientHome:
        token = run_command(server, "enroll", "--home", self._server, name)["token"]
        (self._root / f"{name}.token").write_text(token)
        home = ClientHome(self._root / f"home-{name}")
        join = "--join-file", self._root / f"{name}.token"
        run_command(client, "init", "--home", home.root, *join, *data)
        return home

    def _generated(self, name: str, epsilon: str) -> Path:
        """Write a statistics file, and let the server make weights from it."""
        sent, made = self._root / f"{name}.wgs", self._root / f"{name}.wgw"
        words = "--home", self._root / f"home-{name}", "--out", sent, "--epsilon", epsilon
        run_command(client, "statistics", *words)
        run_command(server, "generate", "--home", self._server, "--statistics", sent, "--out", made)
        return made

    def _apply(self, name: str, epsilon: str) -> Row:
        try:
            made = self._generated(name, epsilon)
            found = run_command(client, "apply", "--home", self._root / f"home-{name}", made)
        except NotAcceptedError as error:
            return {"kept": "", "reason": str(error)}
        except WgError as error:
            return {"kept": "", "reason": f"{type(error).__name__}: {error}"}
        return {"kept": found["kept"], "reason": found["reason"], "models": found["models"]}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Records:
    """Records of a plant, as arrays of ``.npz`` files.

    Attributes:
        own: Records of the plant.
        test: Test records.
        labels: Class names.
        sisters: Records of each sister plant.
        has_units: True if ``own`` names the unit of each record.
        sheet: Data sheet of the machine.
    """

    own: Arrays
    test: Arrays
    labels: tuple[str, ...]
    sisters: Sequence[Arrays] = ()
    has_units: bool = False
    sheet: Any = None


def draw_records(plant: Plant, number: int, options: argparse.Namespace) -> Records:
    """Draw the records of a plant."""
    if plant.sheet:
        return draw_machine(plant, number, options.datasets)
    arrays = read_arrays(plant.dataset, options)
    rng = np.random.default_rng(number)
    names = [str(name) for name in arrays["classes"]]
    groups = np.unique(arrays["group"], return_inverse=True)[1]
    labels = arrays["y"].astype(np.int64)
    is_zoo = (arrays["split"] == 0) & (plant.kind != STRANGER)
    for _ in range(ATTEMPTS):  # With few groups, classes may be on one side
        part = (rng.random(groups.max() + 1) < 0.5).astype(np.int64)[groups]
        sides = [~is_zoo & (part == side) for side in (0, 1)]
        counts = np.stack([np.bincount(labels[side], minlength=len(names)) for side in sides])
        chosen = np.flatnonzero(counts.min(axis=0) >= FEWEST_PER_CLASS)
        if len(chosen) > 1:
            break
    else:
        raise SystemExit(f"{plant.dataset}: no class has records on both sides")
    chosen = np.sort(np.random.default_rng(0).permutation(chosen)[:CLASSES])
    called = tuple(f"kind {n}" if plant.is_renamed else names[c] for n, c in enumerate(chosen))
    see = optics.draw_camera(np.random.default_rng((number, 1))) if plant.has_camera else None

    def cut(rows: Ints, each: int, labelled: int, gone: Ints) -> Arrays:
        kept = [rng.permutation(rows[labels[rows] == c])[:each] for c in chosen]
        known = [np.arange(len(of_class)) < labelled for of_class in kept]
        present = [n for n in range(len(chosen)) if n not in gone]
        picked = np.concatenate([kept[n] for n in present])
        y = np.searchsorted(chosen, labels[picked])
        y = np.where(np.concatenate([known[n] for n in present]), y, -1)
        x = arrays["x"][picked]
        x = x if see is None else np.stack([see(image) for image in x])
        return {"x": x, "y": y, "classes": np.array(called)}

    none, gone = np.zeros(0, np.int64), np.arange(len(chosen) - plant.unseen, len(chosen))
    tests = rng.permutation(np.flatnonzero(sides[0] & np.isin(labels, chosen)))
    sisters: list[Arrays] = []
    if plant.has_sisters:
        turn = np.random.default_rng(0).integers(SISTERS, size=groups.max() + 1)[groups]
        for sister in range(SISTERS):
            rows = np.flatnonzero(is_zoo & (turn == sister))
            sisters.append(cut(rows, SISTER_RECORDS, SISTER_RECORDS, none))
    return Records(
        own=cut(np.flatnonzero(sides[1]), RECORDS, plant.shots, gone),
        test=cut(tests[: 2 * TESTS], TESTS // len(chosen), TESTS, none),
        labels=called,
        sisters=sisters,
    )


def draw_machine(plant: Plant, number: int, datasets: Path) -> Records:
    """Draw the records of a plant with a machine, and its data sheet."""
    if plant.dataset == "bearing":
        machine = machine_drawing.simulate_plant("rotating_machine", number, 7)
    else:
        path = datasets / "cwru_de/data.npz"
        machine = next(machine_drawing.real_plants(path, 7, machine_drawing.EVEN, plant.shots))
    (x, y), units = machine.own, np.array(machine.units)
    labels = np.full(len(y), -1)
    for label in range(len(machine.names)):
        labels[np.flatnonzero(y == label)[: plant.shots]] = label
    classes = np.array(machine.names)
    return Records(
        own={"x": x, "y": labels, "classes": classes, "group": units},
        test={"x": machine.test[0], "y": machine.test[1], "classes": classes},
        labels=machine.names,
        has_units=True,
        sheet=machine.sheet if plant.sheet == "own" else machine.other_sheet,
    )


def read_arrays(name: str, options: argparse.Namespace) -> Arrays:
    """Read the plants' part of a data set; without a zoo part, all of it."""
    if name == "digits":
        images, labels, _ = plants.load_images(options.datasets, name) or ([], [], [])
        arrays: Arrays = {"x": np.stack(images), "y": np.asarray(labels)}
        arrays |= {"classes": np.arange(10).astype(str), "split": np.ones(len(labels))}
    else:
        path = options.sets / name / "data.npz"
        if name == "tiny_imagenet":
            path = options.datasets / name / "shard0.npz"
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    return {"group": np.arange(len(arrays["y"])), **arrays}


def measure_accuracy(home: ClientHome, test: Path, labels: tuple[str, ...]) -> Row:
    """Accuracy of the selected model and of local-only on test records."""
    try:
        manifest, kept = adoption.model_in_use(home)
    except WgError:
        return {}
    records = predict.load_records(test, labels)
    seen = predict.compute_model_inputs(home, manifest, records)
    names = {entry.name for entry in manifest.models}
    return {
        f"accuracy of {name}": float(
            (
                predict.model_logits(home, manifest, model, seen).argmax(axis=1) == records.labels
            ).mean()
        )
        for name, model in (("kept", kept), ("local", LOCAL_ONLY))
        if model in names
    }


def _describe_plant(plant: Plant) -> str:
    parts = [f"{plant.dataset}, {plant.shots} labels a class"]
    parts += [f"{plant.unseen} classes never seen"] * bool(plant.unseen)
    parts += ["its own class names"] * plant.is_renamed
    parts += ["another camera"] * plant.has_camera
    parts += [f"{plant.sheet} data sheet".replace("another", "another machine's")] * bool(
        plant.sheet
    )
    return ", ".join(parts)


def verdict_agrees(row: Row) -> bool:
    """Return whether the verdict agrees with the selected model."""
    return (row["verdict"] in DELIVERED) == (row["kept"] not in ("", LOCAL_ONLY))


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Tabulate the plants, and the number of verdicts that agree."""
    heads = ("", "kind", "plant", "verdict", "kept", "gain, points", "agrees")
    for looked_at, title in ((True, "Looked at:"), (False, "Shown only:")):
        part = sorted((r for r in rows if r["looked at"] == looked_at), key=lambda r: r["number"])
        yield f"{title} {sum(map(verdict_agrees, part))} of {len(part)} agree."
        yield ""
        yield from markdown(heads, map(_plant_row, part))
        yield ""


def _plant_row(row: Row) -> tuple[object, ...]:
    kept, local = (row.get(f"accuracy of {name}") for name in ("kept", "local"))
    gain = "–" if kept is None else f"({100 * kept:.0f} % right)"
    if kept is not None and local is not None:
        gain = f"{100 * (kept - local):+.1f}"
    verdict = row["verdict"] + (f", epsilon {EPSILON}" if row["charged"] else "")
    return (
        row["number"], row["kind"], row["plant"], verdict, row["kept"] or "nothing", gain,
        "yes" if verdict_agrees(row) else "**no**",
    )  # fmt: skip


if __name__ == "__main__":
    main()
