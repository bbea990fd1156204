"""``make demo MODALITY=text``: a server, three plants with maintenance notes, what came of it.

The notes are rendered (``wg_server.zoo.procedural_text``), as those of the zoo are, from phrases
that zoo and plants share; so the figures flatter, and say only that everything works. What real
texts give stands in ``docs/benchmark.md``. No family and no site of the demo is in the zoo.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from demo import stories
from demo.decisions import accept_few_sites
from demo.evaluation import answers, figures
from demo.languages import chosen, option
from demo.processes import CommandFailed, Processes, free_port, processes, start_clean
from wg_client.models import predict
from wg_common.nets.encoder import sentences
from wg_core import atomic
from wg_core.errors import ExitCode, WgError
from wg_core.language import ENGLISH, Language, Text, text
from wg_core.site.home import ClientHome
from wg_server.generator import versions
from wg_server.site.home import ServerHome
from wg_server.zoo.procedural_text import families

OUT = Path(__file__).parent / "out-text"
EPSILON, DELTA = "4", "1e-5"
FAMILY = (20_260_101, 7)
CLASSES = 6
TESTS = 25
"""Notes a class of a test file."""
_STRENGTH = 0.5
_LANGUAGES = {"en": text("English"), "ja": text("Japanese")}
_NAMES = text(
    "Names alone: each note gets the class whose name is most like it. That needs no weightgate."
)
_MADE_UP = text(
    "The notes are made up by the product's own library, as those of its training are: so the"
    " figures flatter. docs/benchmark.md has figures of real notes."
)

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

    title: Text
    writes: str
    names: str
    shots: int
    unseen: int = 0
    labelled: bool = True


KINDS: Mapping[str, Kind] = {
    "rolling-mill": Kind(title=text("Few labels"), writes="en", names="en", shots=5),
    "press-shop": Kind(
        title=text("Two classes never seen"), writes="ja", names="ja", shots=8, unseen=2
    ),
    "pump-house": Kind(
        title=text("No labels at all"), writes="en", names="ja", shots=12, labelled=False
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One plant of the demo: its name, its classes, those of which it has no note, its files."""

    name: str
    kind: Kind
    classes: tuple[str, ...]
    missing: tuple[str, ...]
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
            missing=tuple(classes[c] for c in sorted(unseen)),
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
    option(parser)
    options = parser.parse_args()
    speak = chosen(options.language)
    try:
        if not sentences.is_installed():
            raise CommandFailed(f"{sentences.PACKAGE} is not installed: see the extra 'text'")
        start_clean(options.out)
        with processes(options.out / "logs") as running:
            results = run(running, options.out, speak)
    except (CommandFailed, WgError, OSError) as error:
        said = speak(text("demo failed: {error}", error=error))
        console.print(said, style="red", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print(speak(text("interrupted; every process of the demo has been ended")))
        return 130
    _show(results, options.out, speak)
    return 0


def run(running: Processes, out: Path, speak: Language = ENGLISH) -> list[dict[str, Any]]:
    """Run every step; what came of each plant."""
    server = out / "server"
    found = plants(out / "data")
    _rule(text("server: zoo of notes, generator"), speak)
    running.run(
        "wg-server", "init", "--home", server,
        "--name", "demo", "--host", "127.0.0.1", "--port", str(free_port()),
    )  # fmt: skip
    running.run("wg-server", "zoo", "build", "--home", server, "--plan", "text-quick")
    # 6: the card fails, and the demo accepts the generator by name
    running.run("wg-server", "train", "--home", server, "--plan", "demo", allowed=(0, 6))
    _accept(running, server, speak)
    _rule(text("enrol the plants"), speak)
    running.start("server", "wg-server", "serve", "--home", server)
    running.wait_for("server", "ready")
    _enrol(running, server, out, found)
    _rule(text("statistics out, weights in"), speak)
    for plant in found:
        running.start(plant.name, "wg-client", "run", "--home", out / plant.name, "--once")
    _campaign(running, server, found)
    _rule(text("test on unseen notes, audit"), speak)
    results = []
    ledgers = (("wg-audit", "verify", out / each.name, "--json") for each in found)
    audits = running.run_all(*ledgers, allowed=(ExitCode.BY_ITSELF,))  # no key is brought
    for plant, audit in zip(found, map(json.loads, audits), strict=True):
        spent = audit["epsilon"]
        price = {"epsilon": spent["primary"], "epsilon_cap": spent["cap"]}
        results.append(_judged(out / plant.name, plant) | price)
    written = json.dumps(results, indent=2, ensure_ascii=False)
    atomic.write_bytes(out / "summary.json", written.encode())
    return results


def _rule(name: Text, speak: Language) -> None:
    console.rule(f"[bold]{speak(name)}", align="left")


def _accept(running: Processes, server: Path, speak: Language) -> None:
    """Install the generator that was trained, if its own model card fails."""
    version = versions.present(ServerHome(server))[0]
    if version.failed():
        console.print(
            speak(text("generator accepted for the demonstration although its card fails"))
        )
        running.run("wg-server", "generator", "--home", server, "--use", version.id)


def _enrol(running: Processes, server: Path, out: Path, found: list[Plant]) -> None:
    joins = []
    for plant in found:
        token = running.json("wg-server", "enroll", "--home", server, plant.name)
        joins.append(out / f"{plant.name}.token")  # others can read a command line
        atomic.write_bytes(joins[-1], token["token"].encode("ascii"), mode=atomic.PRIVATE)
    running.run_all(
        *(
            (
                "wg-client", "init", "--home", out / plant.name, "--join-file", join,
                "--data", plant.data, "--labels", ",".join(plant.classes),
            )
            for plant, join in zip(found, joins, strict=True)
        )
    )  # fmt: skip


def _campaign(running: Processes, server: Path, found: list[Plant]) -> None:
    """Ask every plant and deliver to every plant."""
    started = running.json(
        "wg-server", "campaign", "start", "--home", server, "--epsilon", EPSILON, "--delta", DELTA,
        "--purpose", "demonstration", "--sites", ",".join(plant.name for plant in found),
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
    list(accept_few_sites(running, [server.parent / plant.name for plant in found]))


def _judged(folder: Path, plant: Plant) -> dict[str, Any]:
    """Accuracy on the plant's test file, which no command has read so far."""
    records = predict.load_records(plant.test, plant.classes)
    right, kept = answers(ClientHome(folder), records)
    vectors = sentences.embed([str(record) for record in records.records])
    nearest = (vectors @ sentences.embed(plant.classes).T).argmax(axis=1)
    return {
        "name": plant.name,
        "title": plant.kind.title,
        "records": plant.records,
        "notes_per_class": plant.kind.shots,
        "labelled": plant.kind.labelled,
        "notes_in": plant.kind.writes,
        "names_in": plant.kind.names,
        "classes": plant.classes,
        "missing_classes": plant.missing,
        "test_records": len(records),
        "names_alone": float((nearest == records.labels).mean()),
        **figures(right, kept, records.labels, plant),
    }


def has(plant: Mapping[str, Any]) -> Text:
    """What a plant has, in a few words."""
    classes, missing = len(plant["classes"]), len(plant["missing_classes"])
    written, named = (_LANGUAGES[plant[key]] for key in ("notes_in", "names_in"))
    names = "" if named == written else text(", classes named in {named}", named=named)
    if not plant["labelled"]:
        return text(
            "{records} {written} notes without labels{names}",
            records=plant["records"],
            written=written,
            names=names,
        )
    values = {
        "each": plant["notes_per_class"],
        "written": written,
        "classes": classes,
        "names": names,
    }
    if missing:
        seen = classes - missing
        return text(
            "{each} {written} notes of {seen} of {classes} classes{names}", seen=seen, **values
        )
    return text("{each} {written} notes of each of {classes} classes{names}", **values)


def table(results: Sequence[Mapping[str, Any]], speak: Language = ENGLISH) -> Table:
    """What came of it, for a terminal of 80 columns."""
    found = Table(
        box=SIMPLE, width=stories.WIDTH, title=speak(stories.RESULT), title_justify="left"
    )
    found.add_column(speak(stories.PLANT), no_wrap=True)
    found.add_column(speak(stories.ABOUT), ratio=1, overflow="fold")
    for heading in (text("Names\nalone"), *stories.FIGURES):
        found.add_column(speak(heading), justify="right", no_wrap=True)
    for plant in results:
        said = (speak.say(plant["title"]), speak(has(plant)), speak(stories.outcome(plant)))
        shares = (stories.percent(plant[key]) for key in ("names_alone", "alone", "kept"))
        found.add_row(plant["name"], stories.about(*said), *shares, speak(stories.spent(plant)))
    return found


def _show(results: list[dict[str, Any]], out: Path, speak: Language) -> None:
    shown = Console(width=stories.WIDTH)
    shown.print(table(results, speak))
    read = stories.notes({"plants": results}, text("note"), text("notes"))
    for sentence in (_NAMES, *read, _MADE_UP):
        shown.print(speak(sentence), highlight=False)
    shown.print()
    for path in sorted([*out.glob("*/report.html"), out / "summary.json"]):
        Console().print(str(path), highlight=False, soft_wrap=True)
    for sentence in stories.without_model(results):
        shown.print(speak(sentence), highlight=False)


if __name__ == "__main__":
    sys.exit(main())
