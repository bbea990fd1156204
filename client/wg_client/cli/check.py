"""``wg-client check``: what would leave, and what it would cost, before anything does."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.options import delta_option, epsilon_option, home_option
from wg_client.site.home import ClientHome
from wg_common import errors
from wg_common.cli import json_option, show
from wg_common.wire import canonical

if TYPE_CHECKING:
    from wg_client.release.preview import Check, SnapshotSight


_COLUMNS = 80


@click.command()
@home_option
@epsilon_option
@delta_option
@json_option
def check(root: Path, epsilon: str | None, delta: str | None, as_json: bool) -> None:
    """Show what the client sees, what would leave and what it would cost. Sends nothing.

    Exit code 4: policy or budget would refuse such a release.
    """
    from wg_client.release import preview

    found = preview.check(ClientHome(root), epsilon=epsilon, delta=delta)
    show(canonical.to_builtins(found), fitted(_lines(found, root)), as_json)
    if found.cost.refused_by:
        click.get_current_context().exit(errors.EXIT_REFUSED)


def _lines(found: Check, root: Path) -> Iterator[str]:
    data, leaves, cost = found.data, found.would_leave, found.cost
    yield f"{found.site}: data set {found.dataset}, {data.path}"
    yield from _snapshot_lines(found.snapshot)
    units = "" if data.units == data.records else f" in {data.units} privacy units"
    yield f"  {data.records} records{units}, {data.unlabelled} without a label"
    for label, count in data.per_label.items():
        yield f"    {label:24} {count or 'none: can be delivered, cannot be learnt here'}"
    sizes = list(data.record_sizes.items())
    shown = ", ".join(f"{count} of {size}" for size, count in sizes[:5])
    yield f"  {data.modality}: {shown}{', ...' if len(sizes) > 5 else ''}"
    yield "what would leave, once:"
    for block in leaves.blocks:
        shape = " x ".join(map(str, block.shape))
        size = f"{shape:>9} = {block.integers:6} integers"
        yield f"    {block.name:8} {size}, noise {block.noise_std}"
    yield f"    {leaves.integers} integers, {leaves.payload_bytes} bytes, with signature and proofs"
    yield f"    never: {', '.join(leaves.never_leaves)}"
    yield f"what it would cost, for one {leaves.unit} added or removed:"
    yield f"    alone    epsilon {cost.alone:.4g} at delta {cost.cap_delta}"
    yield (
        f"    composed epsilon {cost.after:.4g}, with {cost.spent:.4g} spent; the cap is "
        f"{cost.cap_epsilon}"
    )
    verdict = f"refused by {cost.refused_by}" if cost.refused_by else "allowed"
    yield f"    {verdict}; {cost.releases_left} such releases still fit under the cap"
    learning = found.learning
    yield (
        f"learning here, when weights arrive: about {learning.seconds:.0f} s of processor time"
        f" and {learning.megabytes:.0f} MB of memory; training of a whole network comes on top"
    )
    yield "nothing was sent, nothing was charged"
    for hint in found.hints:
        yield f"hint: {hint}"
    if not cost.refused_by:
        yield f"next: wg-client run --home {root}"


def fitted(lines: Iterator[str]) -> Iterator[str]:
    """Lines of at most 80 columns; what is to be copied, and paths, stay whole."""
    for line in lines:
        indent = " " * (len(line) - len(line.lstrip()) + 4)
        if len(line) <= _COLUMNS or line.startswith("next:"):
            yield line
        else:
            yield from textwrap.wrap(
                line,
                _COLUMNS,
                subsequent_indent=indent,
                drop_whitespace=True,
                break_long_words=False,
                break_on_hyphens=False,
            )


def _snapshot_lines(snapshot: SnapshotSight) -> Iterator[str]:
    change, number = snapshot.change, snapshot.number
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(snapshot.created))
    yield f"  snapshot {number}, frozen {when} UTC; a release is made from it and nothing else"
    if snapshot.set_aside or snapshot.duplicates:
        yield f"  {snapshot.set_aside} left out, {snapshot.duplicates} counted with an equal one"
    if not change.any:
        return
    counts = (
        (change.more, "more"),
        (change.gone, "fewer"),
        (change.touched, "of another size or date"),
    )
    words = ", ".join(f"{count} {word}" for count, word in counts if count)
    found = f"the folder has {words}" if words else change.unreadable
    yield (
        f"  {found}: wg-client freeze makes version {number + 1}, whose releases are charged anew"
    )


COMMANDS = (check,)
