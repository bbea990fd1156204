"""The auditor's page: one self-contained HTML file about a verified log.

It states nothing that ``verify`` did not check, and has no external script, font or image. Times
are those of the site's clock unless a witness's cosignature is named.
"""

from dataclasses import dataclass

import jinja2

from wg_audit import dossier
from wg_audit.dossier_answers import LogRecords
from wg_audit.verdict_formats import format_utc
from wg_common.charts import template_environment
from wg_common.language import ENGLISH, Language
from wg_core import __version__, number_parsers
from wg_core.ledger.entries import Charge
from wg_core.ledger.lineage import ChargeState
from wg_core.ledger.mechanism_cost import parse_sigma

DETAILED_ENTRIES_LIMIT = (
    200  # Number of newest charges, decisions and reuses that are shown in full
)


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """Row of the auditor's page: one charge with its release.

    Attributes:
        charge: CHARGE entry.
        release: Index of the RELEASE entry; None if the charge has none.
        payload_sha256: SHA-256 of the released bytes, hex; empty without a release.
        noise_multiplier: Standard deviation of the noise over sensitivity, as text.
    """

    charge: Charge
    release: int | None
    payload_sha256: str
    noise_multiplier: str


def render_auditor_page(records: LogRecords, language: Language = ENGLISH) -> str:
    """Render the auditor's HTML page about a verified log."""
    finding = records.result
    state = finding.history.state
    charges = [_charge_row(charge, state.charges[charge.head.seq]) for charge in records.charges]
    heads = [head for head in finding.history.checkpoints if head.cosignatures]
    return _template().render(
        document=finding.to_json(),
        finding=finding,
        verdict=finding.verdict,
        state=state,
        charges=charges,
        detailed=charges[-DETAILED_ENTRIES_LIMIT:],
        decisions=list(state.decisions.values())[-DETAILED_ENTRIES_LIMIT:],
        reuses=list(state.reuses.values())[-DETAILED_ENTRIES_LIMIT:],
        datasets=records.datasets,
        heads=heads,
        forms=dossier.answer_forms(records),
        current_time=finding.freshness.checked,
        version=__version__,
        t=language.translate,
        say=language,
        lang=language.code,
    )


def _charge_row(charge: Charge, state: ChargeState) -> ChargeRow:
    return ChargeRow(charge, state.release_seq, state.payload_sha256, _noise_multiplier(charge))


def _noise_multiplier(charge: Charge) -> str:
    sensitivity = float(number_parsers.parse_fraction(charge.mechanism.sensitivity_squared)) ** 0.5
    return f"{parse_sigma(charge.mechanism.sigma) / sensitivity:.4g}"


def _capitalize_first(sentence: str) -> str:
    """Capitalize a sentence's first letter if it is ASCII; a symbol such as ε stays as it is."""
    return sentence[:1].upper() + sentence[1:] if sentence[:1].isascii() else sentence


def _template() -> jinja2.Template:
    templates = template_environment("wg_audit")
    templates.filters["utc"] = format_utc
    templates.filters["capitalize_first"] = _capitalize_first
    templates.filters["short"] = lambda text: f"{text[:12]}…" if len(text) > 14 else text
    templates.filters["number"] = lambda value: f"{float(value):.4g}"
    return templates.get_template("report.html.j2")
