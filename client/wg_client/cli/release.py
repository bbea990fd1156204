"""``wg-client statistics``: a release as a file, for a server that is not connected."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wg_client.cli.options import approver_option, delta_option, home_option, statistics_option
from wg_common.cli import json_option, print_progress, print_result
from wg_common.language import Text, text
from wg_common.options import PrivacyParameter, out_option
from wg_core import atomic
from wg_core.errors import UsageError
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    MACHINE_STATISTICS,
    StatisticsKind,
    statistics_field,
)
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, protocol

if TYPE_CHECKING:  # numpy is slow to import
    from wg_core.snapshot import Snapshot


@click.command()
@home_option
@out_option("The .wgs file.")
@statistics_option
@click.option(
    "--purpose",
    default="air-gapped release",
    show_default=True,
    help="Purpose of the release.",
)
@click.option(
    "--epsilon",
    type=PrivacyParameter(accepted_word=protocol.STATEMENT_EPSILON),
    help="Epsilon of the release; default: the most that the policy allows. 0: class names and data"
    " sheet alone.",
)
@delta_option
@approver_option
@json_option
def statistics(
    home: ClientHome,
    out: Path,
    statistics: StatisticsKind,
    purpose: str,
    epsilon: str | None,
    delta: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Charge and write one release to a file, for a server that is not connected.

    If the server or another witness can be reached, it is asked first: a copy of a home is then
    detected before it spends anything.

    At epsilon 0 nothing is charged, and no record has a part in it: weights can come for class
    names and data sheet. Statistics of the machine count where the operator says that they do.
    """
    from wg_client.data import plant_data as plants
    from wg_core.fleet import file_release_witness
    from wg_core.release import approval, readiness
    from wg_core.release.budget import read_plant_spending
    from wg_core.release.query_answers import answer_query, open_ledger
    from wg_core.site import config as configuration
    from wg_core.site import locks, policy

    if statistics != CLASS_STATISTICS and epsilon == protocol.STATEMENT_EPSILON:
        raise UsageError("--epsilon 0: releases nothing, so leave out --of machine")
    config = configuration.load(home)
    query = protocol.StatisticsQuery(
        request_id=secrets.token_hex(16),
        site=config.site,
        encoder=canonical.sha256_hex(plants.load_encoder_package(home)),
        epsilon=epsilon or config.privacy.max_request_epsilon,
        delta=delta or config.privacy.cap_delta,
        purpose=purpose,
        expires=int(time.time()) + 3600,
        statistics=statistics_field(statistics),
    )
    if query.asks_only_statement:
        data, payment = answer_query(home, query, witness=None), text("nothing charged")
        free_release = _write_and_describe_release(home, out, data, payment, {"charged": False})
        return print_result(*free_release, as_json)
    _warn_of_few_units(readiness.ready_snapshot(home, statistics), statistics)
    with file_release_witness.connect_server_witness(home, config) as witness:
        with locks.lock_ledger(home), open_ledger(home) as ledger:
            policy.check_query(
                config, query, encoder_sha256=query.encoder, current_time=time.time()
            )
            approval.approve_by_command(config, ledger, query, by)
        before = read_plant_spending(home, config).charge_count
        data = answer_query(home, query, witness=witness)
    is_charged = read_plant_spending(home, config).charge_count > before
    payment = text("charged") if is_charged else text("made before, nothing charged")
    if witness is None:
        _warn_of_copies(config.server.name)
    about = {"charged": is_charged, "cosigned": witness is not None, "statistics": statistics}
    return print_result(*_write_and_describe_release(home, out, data, payment, about), as_json)


def _warn_of_copies(server: str) -> None:
    """Say that no witness saw this release, so that a copy of the home could repeat it."""
    print_progress(
        text(
            "{server} could not be reached: a copy of this home could spend this budget again",
            server=server,
        )
    )


def _warn_of_few_units(snapshot: Snapshot, statistics: StatisticsKind) -> None:
    """Warn before a charge if the plant has too few units for usable machine statistics."""
    from wg_client.release.preview import count_machine_units
    from wg_client.release.release_hints import few_units_hint

    for sentence in (
        few_units_hint(count_machine_units(snapshot)) if statistics == MACHINE_STATISTICS else ()
    ):
        print_progress(sentence)


def _write_and_describe_release(
    home: ClientHome, out: Path, data: bytes, payment_text: str, extra_fields: dict[str, Any]
) -> tuple[dict[str, Any], list[Text]]:
    """Write a release's file; describe it and its cost as a JSON document and as lines of text."""
    from wg_core.release.budget import read_plant_spending
    from wg_core.site import config as configuration

    atomic.write_bytes(out, data)
    spend = read_plant_spending(home, configuration.load(home))
    document = {
        "file": str(out),
        "bytes": len(data),
        "sha256": canonical.sha256_hex(data),
        **extra_fields,
        "epsilon_spent": spend.epsilon,
        "cap_epsilon": spend.cap_epsilon,
        "cap_delta": spend.cap_delta,
    }
    lines = [
        text("{path}: {size} bytes", path=out, size=len(data)),
        text(
            "{paid}; epsilon {spent:.4g} of {cap} spent at {delta}",
            paid=payment_text,
            spent=spend.epsilon,
            cap=spend.cap_epsilon,
            delta=spend.cap_delta,
        ),
        text("next: carry {file} to the server's operator", file=out.name),
    ]
    return document, lines


COMMANDS = (statistics,)
