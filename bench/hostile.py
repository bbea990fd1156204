"""Attacks by plants, servers, files and connections, in one table: ``python -m bench.hostile``.

* ``release``: three of ten plants send poisoned statistics (``hostile_release``);
* ``absent``: three of ten exchange the two classes that a plant lacks (``hostile_absent``);
* ``package``: the server's weights have a backdoor, triggered by a patch (``hostile_package``);
* ``files``: statistics and YAML (``hostile_input``);
* ``timing``: the time at which an answer leaves (``hostile_timing``);
* ``server``: connections, bodies and floods during a campaign (``hostile_server``).

``--parts`` selects parts, ``--quick`` runs fewer draws of each. All of them take a quarter of an
hour on one core. The table is printed and written to ``bench/results/hostile.md``, each part under
its own heading; sections of parts that were not run remain unchanged.
"""

import argparse
import logging
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import (
    hostile_absent,
    hostile_input,
    hostile_package,
    hostile_release,
    hostile_server,
    hostile_timing,
    measure,
    tables,
)

TABLE = measure.RESULTS / "hostile.md"
Lines = Iterator[str]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="Fewer draws, and no file is written.")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    words = parser.parse_args()
    for name in ("wg_client", "wg_server"):
        logging.getLogger(name).setLevel(logging.ERROR)  # what checks find is in the table
    sections = {}
    for name in words.parts.split(","):
        started = time.monotonic()
        lines = list(PARTS[name](words.datasets, words.quick))
        took = f"{time.monotonic() - started:.0f} s at a load of {os.getloadavg()[1]:.0f}."
        sections[name] = "\n".join((*lines, "", took)) + "\n"
        sys.stdout.write(f"## {name}\n\n{sections[name]}\n")
        sys.stdout.flush()
    if not words.quick:
        write_sections(sections)


def write_sections(sections: dict[str, str]) -> None:
    """Replace sections of the results file by those with the same heading."""
    text = TABLE.read_text("utf-8") if TABLE.is_file() else ""
    there = dict(re.findall(r"^## (\w+)\n\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    there |= sections
    parts = [f"## {name}\n\n{there[name].rstrip()}\n" for name in PARTS if name in there]
    TABLE.write_text("# `python -m bench.hostile`\n\n" + "\n".join(parts), "utf-8")


def measure_release_attacks(datasets: Path, quick: bool) -> Lines:
    """Measure the effect of colluders on accuracy at the honest plants, in percentage points."""
    yield from tables.markdown(
        hostile_release.COLUMNS,
        hostile_release.measure(
            datasets, fleets=1 if quick else 4, epsilons=(4.0,) if quick else (1.0, 4.0)
        ),
    )


def measure_absent_classes(datasets: Path, quick: bool) -> Lines:
    """Measure the effect of colluders on classes that a plant lacks."""
    yield from tables.markdown(
        hostile_absent.COLUMNS,
        hostile_absent.measure(
            datasets, fleets=1 if quick else 4, epsilons=(4.0,) if quick else (1.0, 4.0, 16.0)
        ),
    )


def measure_backdoors(datasets: Path, quick: bool) -> Lines:
    """Measure the effect of a package with a backdoor at a plant."""
    marks = hostile_package.measure(
        datasets, sets=hostile_package.SETS[:1] if quick else hostile_package.SETS
    )
    yield from tables.markdown(
        (
            "package",
            "kept",
            "checks it failed",
            "accuracy: marked, clean, alone",
            "marked records called the first class: marked, clean, alone",
            "of these `new`",
        ),
        (
            (
                mark.title,
                mark.selected_model,
                ", ".join(mark.failed_checks) or "none",
                ", ".join(f"{value:.2f}" for value in mark.accuracy),
                ", ".join(f"{value:.2f}" for value in mark.first_class_shares),
                "" if mark.new_share != mark.new_share else f"{mark.new_share:.2f}",
            )
            for mark in marks
        ),
    )


def measure_hostile_files(datasets: Path, quick: bool) -> Lines:
    """Measure whether hostile files are refused, and their cost."""
    with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder:
        flips = 30 if quick else hostile_input.BYTE_FLIPS
        met = hostile_input.try_statistics(Path(folder), flips=flips)
    kinds = [("`.wgs`", one) for one in met]
    kinds += [("YAML", one) for one in hostile_input.try_documents()]
    yield from tables.markdown(
        ("file", "what is hostile", "result", "longest, s", "most memory, MB"),
        (
            (
                file,
                one.kind,
                ", ".join(f"{count} {word}" for word, count in one.outcomes.items()),
                f"{one.seconds:.2f}",
                f"{one.megabytes:.1f}",
            )
            for file, one in kinds
        ),
    )


def measure_timing(datasets: Path, quick: bool) -> Lines:
    """Test whether the time of an answer distinguishes plants."""
    compared, medians = hostile_timing.measure(
        rounds=4 if quick else 25, processes=1 if quick else 2
    )
    yield from tables.markdown(
        (
            "time",
            "plants",
            "blocks",
            "median difference, ms",
            "p",
            "level",
            "detected 99 times in 100, ms",
        ),
        (
            (
                one.title,
                " and ".join(one.kinds),
                str(one.blocks),
                f"{one.difference:+.2f}",
                f"{one.p_value:.3f}",
                f"{one.level:.4f}",
                f"{one.detectable_shift:.1f}",
            )
            for one in compared
        ),
    )
    yield ""
    yield f"Median silence: {medians}, with a slot of {hostile_timing.SLOT_SECONDS:g} s."


def measure_server_attacks(datasets: Path, quick: bool) -> Lines:
    """Measure the effect of attacks on the server's listeners on a campaign."""
    attacks = ("all",) if quick else hostile_server.ATTACKS
    yield from hostile_server.measure_attacks(1 if quick else 3, attacks, nice=0)


PARTS: dict[str, Callable[[Path, bool], Lines]] = {
    "release": measure_release_attacks,
    "absent": measure_absent_classes,
    "package": measure_backdoors,
    "files": measure_hostile_files,
    "timing": measure_timing,
    "server": measure_server_attacks,
}


if __name__ == "__main__":
    main()
