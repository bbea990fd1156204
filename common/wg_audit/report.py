"""The auditor's page: one self-contained HTML file about a verified log, to read and to file.

It says nothing that ``verify`` did not check, and draws with inline SVG: no script, no font, no
image from outside. Times in it are the site's clock unless a witness's cosignature is named.
"""

from dataclasses import dataclass

import jinja2

from wg_audit import dossier, figures
from wg_audit.accounts import LineageAccount
from wg_audit.answers import Records
from wg_audit.figures import Mark
from wg_audit.verdict import utc
from wg_audit.verification import Finding
from wg_common.charts import Drawing, environment
from wg_core import __version__, numbers
from wg_core.language import ENGLISH, Language
from wg_core.ledger.entries import Charge
from wg_core.ledger.lineage import ChargeState
from wg_core.ledger.price import parse_sigma

DETAILS_LIMIT = 200  # Most charges whose fields are written out; the newest ones


@dataclass(frozen=True, slots=True)
class ChargeRow:
    """One charge, as the page shows it."""

    charge: Charge
    release: int | None
    payload_sha256: str
    noise_multiplier: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What one lineage cost, and the chart of it."""

    account: LineageAccount
    line: Drawing


def render(records: Records, speak: Language = ENGLISH) -> str:
    """Render the page about a log that was verified."""
    finding = records.finding
    state = finding.history.state
    charges = [_row(charge, state.charges[charge.head.seq]) for charge in records.charges]
    heads = [head for head in finding.history.heads if head.cosignatures]
    return _template().render(
        document=finding.to_json(),
        finding=finding,
        verdict=finding.verdict,
        state=state,
        budgets=_budgets(finding, charges),
        charges=charges,
        detailed=charges[-DETAILS_LIMIT:],
        audits=records.audits,
        decisions=list(state.decisions.values())[-DETAILS_LIMIT:],
        reuses=list(state.reuses.values())[-DETAILS_LIMIT:],
        datasets=records.datasets,
        heads=heads,
        timeline=figures.timeline(
            [(c.time, head.size) for head in heads for c in head.cosignatures]
        ),
        forms=dossier.forms(records),
        now=finding.fresh.checked,
        version=__version__,
        t=speak.say,
        say=speak,
        lang=speak.code,
    )


def _row(charge: Charge, state: ChargeState) -> ChargeRow:
    return ChargeRow(charge, state.release, state.payload_sha256, _noise_multiplier(charge))


def _noise_multiplier(charge: Charge) -> str:
    sensitivity = float(numbers.fraction(charge.mechanism.sensitivity_squared)) ** 0.5
    return f"{parse_sigma(charge.mechanism.sigma) / sensitivity:.4g}"


def _budgets(finding: Finding, charges: list[ChargeRow]) -> list[Budget]:
    state = finding.history.state
    budgets = []
    for account in finding.accounts:
        mine = [r for r in charges if state.lineage(r.charge.lineage).id == account.lineage]
        marks = [
            Mark(
                row.charge.head.seq,
                numbers.decimal(row.charge.state.epsilon_after),
                burned=row.release is None,
            )
            for row in mine
        ]
        epsilon_before = (
            numbers.decimal(mine[0].charge.state.epsilon_before) if mine else account.primary
        )
        line = figures.steps(epsilon_before, marks, state.size, account.cap_epsilon)
        budgets.append(Budget(account, line))
    return budgets


def _template() -> jinja2.Template:
    templates = environment("wg_audit")
    templates.filters["utc"] = utc
    templates.filters["capitalize_first"] = lambda text: text[:1].upper() + text[1:]
    templates.filters["short"] = lambda text: f"{text[:12]}…" if len(text) > 14 else text
    templates.filters["number"] = lambda value: f"{float(value):.4g}"
    return templates.get_template("report.html.j2")
