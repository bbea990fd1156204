"""Selection of sites that a campaign for machine statistics asks.

The server knows the data sheet of a site that released or stated before; it skips a site whose data
sheet names no supported machine. A site without an earlier answer is asked, and refuses with a code
if it has no such machine.
"""

import logging
from collections.abc import Sequence

from wg_core.errors import ConfigError, WgError
from wg_server.campaigns import intake, worth
from wg_server.generator.versions import Version
from wg_server.site.home import ServerHome
from wg_server.store.sites import Store

log = logging.getLogger(__name__)


def kinds(home: ServerHome, version: Version) -> tuple[str, ...]:
    """Return the machine kinds that the encoder reads and that use statistics.

    A kind is left out if, by the model card, the generator makes none of its networks from a
    statistic. This function imports torch, which no process that carries messages does.

    Raises:
        ConfigError: There is no such kind.
        DecodeError, VerificationError: The encoder is damaged.
    """
    from wg_common.nets.encoder.module import load_encoder

    machine_kinds = load_encoder(home.read_encoder()).machine_kinds
    if not machine_kinds or version.summary.sheets is None:
        raise ConfigError(
            "campaign: machine statistics are of no use here: the encoder has no reading map, or"
            " the generator makes no networks from data sheets; run 'wg-server zoo build --plan"
            " windows' and 'wg-server train'"
        )
    useful_kinds = tuple(k for k in machine_kinds if worth.takes_statistic(version.card, k))
    if not useful_kinds:
        raise ConfigError(
            "campaign: machine statistics are of no use here: by the model card template networks"
            " are as good for every kind of machine, and these take none; '--epsilon 0' brings them"
        )
    return useful_kinds


def without_machine(store: Store, sites: Sequence[str], machine_kinds: Sequence[str]) -> list[str]:
    """Return the sites whose newest answer declares no machine of these kinds."""
    newest = store.newest_answers()
    return [
        site for site in sites if site in newest and not _states(store, newest[site], machine_kinds)
    ]


def _states(store: Store, release_id: str, machine_kinds: Sequence[str]) -> bool:
    """Return whether an answer may declare such a machine; True if it is unreadable."""
    try:
        sheet = intake.stated_by(store.release(release_id)).data_sheet
    except WgError as error:
        log.warning("release %s: its data sheet cannot be read: %s", release_id, error)
        return True
    return sheet is not None and sheet.kind in machine_kinds
