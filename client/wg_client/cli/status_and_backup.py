"""``wg-client status``, ``backup`` and ``restore``."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wg_client.cli.options import STATISTICS_KIND_TITLES, home_option
from wg_common.backup.options import decryption_options, encryption_options
from wg_common.cli import json_option, print_result, show_spinner
from wg_common.language import text
from wg_common.options import out_option
from wg_core import errors
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

if TYPE_CHECKING:
    from wg_client.operation.status import BudgetStatus, PlantStatus
    from wg_common.backup.archive import DecryptionKey, EncryptionTarget


@click.command()
@home_option
@out_option("File to write.")
@encryption_options
@json_option
def backup(home: ClientHome, out: Path, seal: EncryptionTarget, as_json: bool) -> None:
    """Write the home into one encrypted file: keys, ledger, snapshots, models.

    The node may run meanwhile. The data set itself is not in it.
    """
    from wg_client.operation import backup as backups

    with show_spinner(text("writing the backup")):
        manifest = backups.back_up_home(home, out, seal)
    size = sum(file.size for file in manifest.files)
    count = len(manifest.files)
    lines = [
        text("{out}: {count} files, {size:,} bytes unencrypted", out=out, count=count, size=size)
    ]
    if home.budget_home != home.root:
        lines.append(
            text("its ledger is in {home}: back that home up as well", home=home.budget_home)
        )
    print_result(canonical.to_builtins(manifest), lines, as_json)


@click.command()
@home_option
@click.option(
    "--backup",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A file of 'wg-client backup'.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The note in the folder of 'wg-server export', of today, where no server can be reached.",
)
@click.option(
    "--give-up-ledger",
    is_flag=True,
    help="There is no newer backup: restore for 'wg-client keys --renew ledger --stolen', and for"
    " nothing else.",
)
@decryption_options
@json_option
def restore(
    home: ClientHome,
    path: Path,
    checkpoint: Path | None,
    give_up_ledger: bool,
    key: DecryptionKey,
    as_json: bool,
) -> None:
    """Make a new home from a backup, if the server has seen nothing newer of its ledger."""
    from wg_client.operation import backup as backups

    with show_spinner(text("reading the backup, and asking the server")):
        restoration, size = backups.restore_home(
            path, home, key, note_path=checkpoint, give_up_ledger=give_up_ledger
        )
    document = {**canonical.to_builtins(restoration), "ledger_entries": size}
    if give_up_ledger:
        state = text("its ledger is given up; next: wg-client keys --renew ledger --stolen")
    elif size:
        state = text(
            "the server has seen nothing newer than its ledger; entries: {size}", size=size
        )
    else:
        state = text("its ledger is another home's")
    count = len(restoration.files)
    lines = [
        text("{home}: {name}, files {count}", home=home.root, name=restoration.name, count=count),
        state,
    ]
    print_result(document, lines, as_json)


@click.command()
@home_option
@click.option(
    "--probe",
    is_flag=True,
    help="One line, and code 7 unless the server answered the node lately: for a supervisor.",
)
@json_option
def status(home: ClientHome, probe: bool, as_json: bool) -> int:
    """Show the status of the plant: releases, their cost, and problems to solve."""
    from wg_client.operation import status as looking

    if probe:
        good, word = looking.connection_and_contact(home)
        state = word.state if word else "never connected"
        reason = f": {word.reason}" if word and word.reason else ""
        print_result({"connected": good, "state": state}, [f"{state}{reason}"], as_json)
        return errors.ExitCode.OK if good else errors.ExitCode.PEER
    plant_status = looking.collect_status(home)
    print_result(canonical.to_builtins(plant_status), _status_lines(plant_status), as_json)
    return errors.ExitCode.OK


def _connection_lines(plant_status: PlantStatus) -> Iterator[str]:
    node = text("not running")
    if plant_status.running:
        node = text("connected") if plant_status.connected else text("running, not connected")
    yield text(
        "{site}, of {server} ({url})",
        site=plant_status.site,
        server=plant_status.server,
        url=plant_status.fleet_url,
    )
    since: str = ""
    if plant_status.contact and plant_status.connected:
        since = text(" since {when}", when=_format_time(plant_status.contact.since))
    yield text("  node         {node}{since}", node=node, since=since)
    if plant_status.certificate_expires:
        yield text(
            "  certificate  good until {when}", when=_format_time(plant_status.certificate_expires)
        )


def _status_lines(plant_status: PlantStatus) -> Iterator[str]:
    if plant_status.server:
        yield from _connection_lines(plant_status)
    else:
        yield text("{site}: works alone, without a server", site=plant_status.site)
    for sentence in plant_status.work:
        yield text("  now          {work}", work=sentence)
    if plant_status.budget and plant_status.server:
        budget = plant_status.budget
        yield text(
            "  budget       epsilon {spent:.4g} of {cap} spent at delta {delta}; charges {charges},"
            " {burned} without a release",
            spent=budget.epsilon,
            cap=budget.cap_epsilon,
            delta=budget.cap_delta,
            charges=budget.charges,
            burned=budget.burned,
        )
        yield text(
            "  ledger       {entries} entries, {seen} seen by the server",
            entries=budget.entries,
            seen=budget.cosigned,
        )
        yield from _release_lines(budget)
    if plant_status.snapshot:
        yield text(
            "  data         version {number}, frozen {when}",
            number=plant_status.snapshot,
            when=_format_time(plant_status.frozen),
        )
    model = (
        text(
            "{model}, of {when}", model=plant_status.model, when=_format_time(plant_status.applied)
        )
        if plant_status.model
        else text("none yet")
    )
    yield text(
        "  model        {model}; stage: {stage}", model=model, stage=text(plant_status.stage)
    )
    if plant_status.waiting:
        yield text("  packages     {count} wait to be applied", count=plant_status.waiting)
    yield text("  disk         {free:.1f} GiB free", free=plant_status.free_bytes / (1 << 30))
    for problem in plant_status.problems:
        yield text("! {problem}", problem=problem)
    yield (
        text("{count} to look at", count=len(plant_status.problems))
        if plant_status.problems
        else text("all is well")
    )


def _release_lines(budget: BudgetStatus) -> Iterator[str]:
    """Yield a line per release, after one on what all releases reveal about one privacy unit."""
    if budget.charges:
        yield text(
            "  somebody who has all of it and guesses whether a certain unit was in the "
            "data is right at most {right} times in 100 (tossing a coin: 50)",
            right=min(round(100 * budget.distinguished + 0.5), 100),
        )
    for row in budget.releases:
        size = text("nothing left") if row.size is None else text("{size} bytes", size=row.size)
        yield text(
            "  {when}  {request}  {of}, epsilon {epsilon}, {after} composed, {size}, to"
            " {recipient}: {purpose}",
            of=STATISTICS_KIND_TITLES[row.statistics],
            when=_format_time(row.time),
            request=row.request_id[:12],
            epsilon=row.epsilon,
            after=row.epsilon_after,
            size=size,
            recipient=row.recipient,
            purpose=row.purpose,
        )


def _format_time(unix_time: float) -> str:
    return datetime.fromtimestamp(unix_time, UTC).strftime("%Y-%m-%d %H:%MZ")


COMMANDS = (status, backup, restore)
