"""Release of class statistics to whoever gets an exported file.

A head computed from it adds nothing to its cost (post-processing). The order of steps and the
effect of a crash are as in ``query``: a charge without a release is completed by the next equal
order, and an equal release, whoever asked for it, is handed out again. The settings for servers
(``privacy.statistics``, ``purposes``) do not apply, since no server can order it: a command of the
plant does, within ``max_request_epsilon``, and with a person's name if ``privacy.approve`` is
``human``.
"""

import functools
import time
from dataclasses import dataclass

from msgspec import UNSET

from wg_core.connection import cosigning
from wg_core.errors import ConfigError
from wg_core.privacy.schema import CLASSES, MachineMark
from wg_core.release import approval, query
from wg_core.release.query import USUAL, Means, Order, Witness
from wg_core.site import config as configuration
from wg_core.site import encoder_pin, locks, policy
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, signing

PURPOSE = "exported model"
HOLDERS = "whoever gets the exported file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder(Order):
    """Order for the release behind one exported head, by a command of the plant.

    Attributes:
        by: Name of the approving person, if ``privacy.approve`` is ``human``.
    """

    purpose: str = PURPOSE
    recipient: str | None = HOLDERS
    by: str | None = None

    @property
    def statistics(self) -> MachineMark:
        """Mark of class statistics."""
        return UNSET


def release_for_export(
    home: ClientHome, order: ExportOrder, *, witness: Witness | None, means: Means = USUAL
) -> bytes:
    """Charge, make and cover one release; an equal earlier release is returned again.

    Args:
        witness: Function that asks the server to cosign, as for ``query.answer_query``.
        means: Noise, and a hook for tests.

    Raises:
        PolicyRefused: The price exceeds the limit, or nobody approves; nothing was charged.
        BudgetExceeded: The cap forbids the charge; nothing was charged.
        ConfigError: No snapshot fits, or no label is declared; nothing was charged.
        WitnessRefused, TooFewWitnesses: As for ``query.answer_query``; the release is kept.
    """
    config = configuration.load(home)
    encoder = canonical.sha256_hex(encoder_pin.load(home, config))
    policy.check_price(config, order, f"export {order.request_id}")
    if not config.data.labels:
        raise ConfigError(f"{home.config}: data.labels is empty, and a head needs classes")
    with locks.release(home), query.open_ledger(home, at=time.time()) as ledger:
        cosigning.enrol(ledger, config)
        snapshot = query.current_snapshot(home, config, ledger, encoder=encoder)
        request, _ = query.charge_request(config, snapshot.schema(CLASSES), order)
        fingerprint = request.fingerprint(snapshot.manifest.commitment)
        if ledger.find(config.data.name, fingerprint=fingerprint) is None:
            approval.approve_by_command(config, ledger, order, order.by, HOLDERS)
        if witness is None:
            cosigning.check_room(ledger, config)
        if config.data_sheet is not None:
            query.statement_index(ledger, config, encoder)
        key = signing.load(home.signing_key)
        pack = functools.partial(query.make, config, snapshot, key=key, sampler=means.sampler)
        charge = query.release_once(ledger, request, pack, means.on_step)
        return query.cover(home, config, ledger, charge, witness, means.on_step)
