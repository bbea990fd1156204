"""Selection of sites that a campaign for machine statistics asks.

The server knows a site's data sheet from an earlier release or public statement. It skips a site
that sent neither, and a site for whose kind of machine the networks use no statistic: the site
would spend budget for nothing. A site without a supported machine is asked only if the operator
names it; it refuses with a code, and spends nothing.
"""

import logging
from collections.abc import Mapping, Sequence

from wg_core.errors import ConfigError, WgError
from wg_server.campaigns import expected_benefit, release_intake
from wg_server.generator.versions import GeneratorVersion
from wg_server.site.home import ServerHome
from wg_server.store.campaigns import (
    NO_EARLIER_ANSWER_CODE,
    NO_SUPPORTED_MACHINE_CODE,
    STATISTIC_UNUSED_CODE,
)
from wg_server.store.server_store import ServerStore

log = logging.getLogger(__name__)


def statistic_use_by_machine_kind(home: ServerHome, version: GeneratorVersion) -> dict[str, bool]:
    """Return, for each machine kind that the encoder reads, whether its networks use statistics.

    The model card decides; a soft sensor that passes its checks always uses them. This function
    imports torch, and is therefore not for processes that carry messages.

    Raises:
        ConfigError: No kind uses statistics.
        DecodeError, VerificationError: The encoder is damaged.
    """
    from wg_common.nets.encoder.projected_trunk import load_encoder

    machine_kinds = load_encoder(home.read_encoder()).machine_kinds
    if not machine_kinds or not version.uses_networks:
        raise ConfigError(
            "campaign: machine statistics are of no use here: the encoder has no reading map, or"
            " the generator makes no networks from data sheets; run 'wg-server zoo build --plan"
            " windows' and 'wg-server train'"
        )
    uses = {
        kind: expected_benefit.uses_statistic(version.card, kind)
        for kind in (
            *version.card["sheets"]["kinds"],
            *expected_benefit.soft_sensor_errors(version.card),
        )
        if kind in machine_kinds
    }
    if not any(uses.values()):
        raise ConfigError(
            "campaign: machine statistics are of no use here: by the model card template networks"
            " are as good for every kind of machine, and these take none; '--epsilon 0' brings them"
        )
    return uses


def skip_codes_by_site(
    store: ServerStore,
    site_names: Sequence[str],
    statistic_use_by_machine_kind: Mapping[str, bool],
    *,
    sites_are_named: bool,
) -> dict[str, str]:
    """Return the sites that a campaign for machine statistics skips, each with a reason code.

    Args:
        store: The server's store.
        site_names: Names of the sites.
        statistic_use_by_machine_kind: For each machine kind that the encoder reads, True if its
            networks use a plant's statistics.
        sites_are_named: True if the operator named the sites; a site without a supported machine
            is then not skipped.
    """
    newest, codes = store.newest_answer_ids_by_site(), {}
    for site in site_names:
        kind = _declared_machine_kind(store, newest.get(site, ""))
        if kind is None:
            codes[site] = NO_EARLIER_ANSWER_CODE
        elif kind not in statistic_use_by_machine_kind and not sites_are_named:
            codes[site] = NO_SUPPORTED_MACHINE_CODE
        elif not statistic_use_by_machine_kind.get(kind, True):
            codes[site] = STATISTIC_UNUSED_CODE
    return codes


def _declared_machine_kind(store: ServerStore, release_id: str) -> str | None:
    """Return the machine kind in a site's answer; empty: no machine; None: no readable answer."""
    if not release_id:
        return None
    try:
        sheet = release_intake.recipient_without_statistics(
            store.require_release(release_id)
        ).data_sheet
    except WgError as error:
        log.warning("release %s: its data sheet cannot be read: %s", release_id, error)
        return None
    return "" if sheet is None else sheet.kind
