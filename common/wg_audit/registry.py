"""An entry for a public registry of differential privacy deployments, from a verified log.

The fields are those of the Differential Privacy Deployments Registry (registry.opendp.org; schema:
github.com/opendp/deployments-registry-data, ``schemas/deployments-schema.yaml``, tier 3); ``notes``
goes through the layers of NIST SP 800-226 (March 2025). What a charge states is copied, what was
spent is computed anew, and what no log can know is left for a person: such a field begins with
``BY_A_PERSON`` and is named in ``Entry.missing``. Nothing is guessed, so an entry is a draft.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from wg_audit import answers, dossier
from wg_audit.accounts import LineageAccount, worst
from wg_audit.answers import Records
from wg_audit.verification import Finding
from wg_core.errors import ConfigError, VerificationError
from wg_core.ledger import entries, sources

BY_A_PERSON = "[to be filled in by a person] "
STATUS = "Draft"
_SHOWN = 12  # Most distinct values of a field that are written out
_TEXT = 300  # Most characters of a site's own words that are copied
_NO_DATE = "1900-01-01"  # The registry's template has it where a date is not known
_DATE = "deployment.basic.publication_date"
_SECTOR = "deployment.basic.data_product_sector"
"""Optional, and left out: the registry's list has no word for manufacturing."""
_STATISTICS = "Summary statistics"


@dataclass(frozen=True, slots=True)
class Entry:
    """A registry entry.

    Attributes:
        document: As the registry's schema has it.
        missing: Fields that a person must fill in, dotted.
    """

    document: dict[str, Any]
    missing: tuple[str, ...]

    def to_yaml(self) -> str:
        """The file to hand in, in the order of the registry's template."""
        return yaml.safe_dump(self.document, sort_keys=False, allow_unicode=True, width=1 << 16)


@dataclass(slots=True)
class _Seen:
    """What charges and other entries say.

    Attributes:
        words: Distinct values over all charges, by what they are about, in the order of coming.
        versions: How often each data set was registered.
        newest: The newest charge.
        first_release: The first release.
    """

    words: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    versions: dict[str, int] = field(default_factory=dict)
    newest: entries.Charge | None = None
    first_release: entries.Release | None = None

    def add(self, subject: str, *values: str) -> None:
        """Take values in."""
        self.words[subject].update(dict.fromkeys(values))

    def __getitem__(self, subject: str) -> str:
        return _list(self.words[subject])


def write(path: Path, finding: Finding) -> Entry:
    """Make the entry of a log that was verified.

    Args:
        path: A client's home, a ledger file or an export.
        finding: From ``verification.verify`` of that path.

    Raises:
        ConfigError: The path cannot be read, or nothing was charged on this log.
        VerificationError: The verdict is not "verified"; there is no entry about such a log.
    """
    if not finding.passed:
        raise VerificationError(f"{path}: {'; '.join(finding.verdict.problems)}")
    with closing(sources.open_source(path)) as source:
        facts = _collect(sources.stored_entries(source))
    if facts.newest is None or facts.first_release is None:
        raise ConfigError(f"{path}: nothing was released on this log, so there is no deployment")
    date = _published(finding, facts.first_release)
    document = _document(answers.read(path, finding), facts, facts.newest, date)
    missing = [*_missing(document, ""), _SECTOR]
    if date == _NO_DATE:
        missing.append(_DATE)
    return Entry(document, tuple(sorted(missing)))


def _collect(stored: Iterable[entries.Entry]) -> _Seen:
    facts = _Seen()
    for entry in stored:
        if isinstance(entry, entries.Charge):
            _take(facts, entry)
        elif isinstance(entry, entries.Release) and facts.first_release is None:
            facts.first_release = entry
        elif isinstance(entry, entries.Dataset):
            facts.versions[entry.name] = facts.versions.get(entry.name, 0) + 1
            facts.add("refresh", entry.refresh_rule)
        elif isinstance(entry, entries.Reuse):
            facts.add("purposes", entry.purpose)
            facts.add("recipients", entry.recipient)
    return facts


def _take(facts: _Seen, charge: entries.Charge) -> None:
    guarantee, mechanism, program = charge.guarantee, charge.mechanism, charge.implementation
    facts.newest = charge
    facts.add("units", guarantee.unit)
    facts.add(
        "unit_details",
        f"one {guarantee.unit} ({guarantee.records_per_unit}); neighbouring data sets differ in"
        f" one such unit, relation {guarantee.adjacency}",
    )
    facts.add("labels", ", ".join(guarantee.labels))
    facts.add("unprotected", *guarantee.unprotected)
    facts.add("variants", guarantee.variant)
    facts.add(
        "mechanisms",
        f"{mechanism.name}; accountant {mechanism.accountant}; subsampling {mechanism.subsampling}",
    )
    facts.add("programs", f"{program.software}, code digest {program.code_sha256}")
    facts.add("libraries", *(f"{library.name} {library.version}" for library in program.libraries))
    facts.add(
        "measures",
        f"randomness: {program.randomness}; floating point: {program.floating_point}; timing:"
        f" {program.timing}",
    )
    facts.add("prices", f"epsilon {charge.epsilon} at delta {charge.delta}")
    facts.add("purposes", charge.use.purpose)
    facts.add("recipients", charge.use.recipient)
    facts.add("afterwards", charge.use.post_processing)


def _document(
    records: Records, facts: _Seen, newest: entries.Charge, date: str, *, tier: int = 3
) -> dict[str, Any]:
    finding = records.finding
    name = f"weightgate releases of {_clean(finding.history.state.site)}"
    return {
        "url_slug": re.sub(r"[\W_]+", "-", f"{name} {date[:4]}".lower()).strip("-"),
        "status": STATUS,
        "tier": tier,
        "deployment": {
            "basic": {
                "name": name,
                "data_curators": [f"{BY_A_PERSON}legal name of the plant's owner"],
                "intended_use": f"As stated on the charges: {facts['purposes']}",
                "data_product_type": _STATISTICS,
                "data_product_region": f"{BY_A_PERSON}where the plant is, and whose law applies",
                "description": _DESCRIPTION,
                "publication_date": date,
            },
            "dp_variant": {
                "variant_name": "Approximate DP",
                "data_domain": (
                    "Labelled images or sensor windows of one plant, as features of a public"
                    f" encoder (sha256 {newest.mechanism.encoder}). Public label domain:"
                    f" {facts['labels']}"
                ),
                "unprotected_quantities": facts["unprotected"],
            },
            "privacy_loss": _privacy_loss(finding, facts),
            "deployment_model": _model(finding, facts),
            "accounting": {
                "post_processing": facts["afterwards"],
                "composition": (
                    "Adaptive sequential composition of all charges, also of those whose release"
                    " was never made: sum of squared Gaussian DP parameters. Recomputed for this"
                    f" entry by two code bases. As charged: {facts['variants']}"
                ),
            },
            "implementation": {
                "preprocessing_and_hyperparameter_tuning": (
                    f"{BY_A_PERSON}whether these data guided the choice of labels, unit, cap or"
                    " encoder. In the program itself none is tuned on private data:"
                    " noise, clip radius and block weights follow from public settings."
                ),
                "mechanisms": (
                    f"{facts['mechanisms']}. {facts['measures']}."
                    f" Programs: {facts['programs']}. Libraries: {facts['libraries']}"
                ),
                "justification": (
                    f"{BY_A_PERSON}why this cap and this unit protect enough. The mechanism's own"
                    " reasons: docs/privacy-argument.md and docs/decisions of the program."
                ),
            },
            "administrative": {
                "sources": f"{BY_A_PERSON}links; origin of the log: {finding.history.state.origin}",
                "notes": _notes(records),
                "registry_authors": [f"{BY_A_PERSON}who fills in and answers for this entry"],
            },
        },
    }


_DESCRIPTION = (
    "Statistics for making neural network weights to measure: noisy counts and sums of features for"
    " each class, released jointly. The recipient generates weights from them, which the plant"
    " checks and fine-tunes on site."
)


def _privacy_loss(finding: Finding, facts: _Seen) -> dict[str, Any]:
    top = worst(finding.accounts)
    if top is None:
        raise ConfigError("log: charges, but no budget")
    return {
        "privacy_unit": facts["units"],
        "privacy_unit_details": facts["unit_details"],
        "privacy_parameters": {"epsilon": _up(top.primary), "delta": top.delta},
        "privacy_parameters_details": (
            f"Spent in all so far, of the lineage nearest its cap. {_lineages(finding.accounts)}"
            f" Single charges: {facts['prices']}."
        ),
    }


def _lineages(accounts: list[LineageAccount]) -> str:
    words = [
        f"{_list(dict.fromkeys(account.datasets))}: epsilon {_up(account.primary):g} of a cap of"
        f" {account.cap_epsilon:g} at delta {account.delta:g}, {account.charges} charges,"
        f" {account.burned} of them without a release, sum of mu^2 {account.mu_squared:.6g}."
        for account in accounts[:_SHOWN]
    ]
    if len(accounts) > 1:
        words.append("If these share units, their epsilons add up.")
    return " ".join(words)


def _model(finding: Finding, facts: _Seen) -> dict[str, Any]:
    state = finding.history.state
    releases = sum(not charge.open for charge in state.charges.values())
    changed = [name for name, count in facts.versions.items() if count > 1]
    witnesses = _list(dict.fromkeys(witness.name for witness in state.witnesses)) or "none"
    return {
        "model_name": "Federated",
        "model_name_details": (
            "Each plant adds noise to its own statistics on site, before anything leaves; within"
            " the plant this is the central model, towards everybody else no party is trusted."
        ),
        "actors": (
            f"The plant (holds the data; runs the mechanism; signs the log). Recipient:"
            f" {facts['recipients']} (sees the releases; chooses when to ask, and at which"
            f" epsilon within the plant's policy; not trusted). Witness: {witnesses} (sees hashes;"
            " trusted to remember). Other plants (get weights made from these releases; not"
            " trusted). Auditor (sees the log; trusts keys that it got elsewhere)."
        ),
        "release_type": "Many releases" if releases > 1 else "One release",
        "release_type_details": (
            f"{releases} releases so far. A spent budget comes back: {facts['refresh']}."
            " Further requests are refused when the cap is reached."
        ),
        "data_source_type": "Dynamic" if changed else "Static",
        "data_source_type_details": (
            f"Registered anew after the first time: {_list(dict.fromkeys(changed)) or 'none'}."
            " A new version of a data set pays from the same budget."
        ),
        "access_type": "Interactive",
        "access_type_details": (
            "A recipient may ask again, adaptively; what is asked is fixed in its form, and all"
            " recipients share one budget, so that they may pool what they get. Equal questions"
            " on an unchanged version get the stored answer."
        ),
    }


def _notes(records: Records) -> str:
    finding = records.finding
    layers = "\n".join(
        f"- {section.name}, {line.topic}: "
        + ("; ".join(_clean(f"{x.says} ({x.where})") for x in line.evidence) or "not evidenced")
        for section in dossier.nist(records).sections
        for line in section.lines
    )
    remarks = "\n".join(f"- {_clean(remark)}" for remark in finding.remarks) or "- none"
    missing = "\n".join(f"- {_clean(words)}" for words in finding.verdict.not_checked)
    return (
        f"Made from a verified log of {finding.history.state.size} entries.\n\n"
        f"Layers of NIST SP 800-226:\n{layers}\n\nWhat the verifier remarked:\n{remarks}\n\n"
        f"What it did not check:\n{missing}\n"
    )


def _published(finding: Finding, release: entries.Release) -> str:
    """Day of the first release: by a known witness's clock if there is one, else by the site's."""
    for head in sorted(finding.history.heads, key=lambda head: head.size):
        times = [cosignature.time for cosignature in head.cosignatures if cosignature.known]
        if head.size > release.head.seq and times:
            return _day(min(times))
    return _day(release.head.time)


def _day(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    except (OverflowError, ValueError, OSError):
        return _NO_DATE


def _up(epsilon: float, *, steps_to_one: int = 10_000) -> float:
    """Rounded up, never down."""
    return math.ceil(epsilon * steps_to_one) / steps_to_one


def _clean(text: str) -> str:
    """A site's own words as one printable line of bounded length."""
    line = "".join(letter if letter.isprintable() else " " for letter in text)
    return line if len(line) <= _TEXT else f"{line[:_TEXT]} ..."


def _list(values: Iterable[str]) -> str:
    unique = list(values)
    words = "; ".join(map(_clean, unique[:_SHOWN]))
    return words if len(unique) <= _SHOWN else f"{words}; and {len(unique) - _SHOWN} more"


def _missing(node: object, path: str) -> Iterable[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _missing(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list):
        for value in node:
            yield from _missing(value, path)
    elif isinstance(node, str) and node.startswith(BY_A_PERSON):
        yield path
