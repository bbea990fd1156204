"""Answers to the questions of the dossier, each with its evidence in a verified log or its files.

The evidence has one of three strengths: *computed* from entries, *compared* with files or keys from
other sources, or *stated* on the log by the site before the release. A question about keys or
witnesses stays open if only the log itself states their keys.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from wg_audit import charge_derivation
from wg_audit.charge_texts import translatable_sentence
from wg_audit.privacy_cost import LineageAccount
from wg_audit.verdict import LOG_SOURCE
from wg_audit.verdict_formats import NAMES_SHOWN, format_duration, format_utc, list_first_names
from wg_audit.verification import VerificationResult
from wg_common.auditor_record import SITES_FILE
from wg_common.language import list_names, text
from wg_core.ledger import log_sources
from wg_core.ledger.entries import Charge, Dataset


@dataclass(frozen=True, slots=True)
class AnswerWithEvidence:
    """Answer to a question of the dossier: a sentence (``says``), and its evidence (``where``)."""

    says: str
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecords:
    """Verification result of a log, with its CHARGE and DATASET entries, oldest first."""

    result: VerificationResult
    charges: Sequence[Charge]
    datasets: Sequence[Dataset]


def read_log_records(path: Path, result: VerificationResult) -> LogRecords:
    """Read the charges and data sets of a verified log.

    Args:
        path: Path of a client's home, a ledger file or an export.
        result: Result of ``verification.audit_log`` for that path.

    Raises:
        ConfigError: The path cannot be read.
    """
    with closing(log_sources.open_source(path)) as source:
        stored_files = list(log_sources.decode_entries(source))
    return LogRecords(
        result=result,
        charges=[entry for entry in stored_files if isinstance(entry, Charge)],
        datasets=[entry for entry in stored_files if isinstance(entry, Dataset)],
    )


# --- where


def _join_entry_indices(indices: Iterable[int]) -> str:
    return list_first_names([str(index) for index in indices])


def _computed_evidence(indices: Iterable[int]) -> str:
    return text("computed from entries {entries}", entries=_join_entry_indices(indices))


def _stated_evidence(indices: Iterable[int]) -> str:
    return text("stated in entries {entries}", entries=_join_entry_indices(indices))


def _compared_evidence(names: str) -> str:
    return text("compared with {names}", names=names)


def _distinct_answers(
    records: LogRecords, text_of_charge: Callable[[Charge], str]
) -> Iterator[AnswerWithEvidence]:
    """Yield an answer for each distinct sentence about charges, with the entries that state it."""
    places: dict[str, list[int]] = {}
    for charge in records.charges:
        places.setdefault(text_of_charge(charge), []).append(charge.head.seq)
    for sentence, indices in list(places.items())[:NAMES_SHOWN]:
        if sentence:
            yield AnswerWithEvidence(sentence, _stated_evidence(indices))


def _answer_from_field(
    read_field: Callable[[Charge], str],
) -> Callable[[LogRecords], Iterator[AnswerWithEvidence]]:
    """Return a function that answers with each distinct text that ``read_field`` finds."""
    return lambda records: _distinct_answers(
        records, lambda charge: translatable_sentence(read_field(charge))
    )


# --- answers


def _spent_accounts_with_entries(records: LogRecords) -> Iterator[tuple[LineageAccount, list[int]]]:
    """Yield each budget's account with some spend, and the indices of the entries that charged it.

    Entry 0 is included if the budget inherits charges from a previous log.
    """
    state = records.result.history.state
    for account in records.result.accounts:
        if account.primary > 0:
            payments = [
                charge.seq
                for charge in state.charges.values()
                if state.lineage_by_id(charge.lineage_id).lineage_id == account.lineage
            ]
            yield account, payments if len(payments) == account.charges else [0, *payments]


def answer_composed_epsilon(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: composed ε and δ of each budget."""
    for account, indices in _spent_accounts_with_entries(records):
        yield AnswerWithEvidence(
            text(
                "{names}: ε {epsilon:.4f} of a cap of {cap:g} at δ {delta:g}, composed over"
                " all charges ({count}), burned ones too; by independent code {independent:.4f}",
                names=list_first_names(account.datasets),
                epsilon=account.primary,
                cap=account.cap_epsilon,
                delta=account.delta,
                count=account.charges,
                independent=account.independent,
            ),
            _computed_evidence(indices),
        )


def answer_guess_success_rate(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: a bound on the success rate of guessing one unit's membership.

    The bound follows from (ε, δ) if membership and non-membership are equally likely.
    """
    for account, indices in _spent_accounts_with_entries(records):
        inverse = math.exp(-account.primary)
        yield AnswerWithEvidence(
            text(
                "{names}: somebody who knows everything else and guesses whether a certain unit"
                " is in the data is right at most {share:.1f} % of the time, if both answers "
                "are equally likely",
                names=list_first_names(account.datasets),
                share=min(100.0, 100 * (1 + account.delta * inverse) / (1 + inverse)),
            ),
            _computed_evidence(indices),
        )


def answer_budget_caps(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: each budget's cap, and the rule for renewing a spent one."""
    places: dict[str, list[int]] = {}
    for entry in records.datasets:
        sentence = text(
            "cap of ε {cap} at δ {delta}; a spent budget comes back: {rule}",
            cap=entry.cap_epsilon,
            delta=entry.cap_delta,
            rule=translatable_sentence(entry.refresh_rule),
        )
        places.setdefault(sentence, []).append(entry.head.seq)
    for answer, indices in list(places.items())[:NAMES_SHOWN]:
        yield AnswerWithEvidence(answer, _stated_evidence(indices))


answer_privacy_variant = _answer_from_field(lambda charge: charge.guarantee.variant)
"""Answer function: the variant of differential privacy."""


def answer_privacy_unit(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the privacy unit, and the neighbouring relation."""
    return _distinct_answers(
        records,
        lambda charge: text(
            "one {unit}, neighbouring relation {relation}",
            unit=translatable_sentence(charge.guarantee.unit),
            relation=translatable_sentence(charge.guarantee.adjacency),
        ),
    )


answer_contribution_rule = _answer_from_field(lambda charge: charge.guarantee.records_per_unit)
"""Answer function: the rule by which several records of one privacy unit count."""


def answer_noise_mechanism(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the noise mechanism, and the accountant that priced it."""
    return _distinct_answers(
        records,
        lambda charge: text(
            "{mechanism}; accountant: {accountant}",
            mechanism=translatable_sentence(charge.mechanism.name),
            accountant=translatable_sentence(charge.mechanism.accountant),
        ),
    )


def answer_rederived_charges(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the number of charges whose cost the auditor derived again."""
    if records.charges:
        yield AnswerWithEvidence(
            text(
                "sensitivity, σ and ε of each charge ({count}) follow from its blocks and weights,"
                " derived again by other code",
                count=len(records.charges),
            ),
            _computed_evidence(charge.head.seq for charge in records.charges),
        )


def answer_subsampling(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the subsampling of records, if any."""
    return _distinct_answers(
        records,
        lambda charge: text(
            "subsampling: {words}",
            words=translatable_sentence(charge.mechanism.subsampling),
        ),
    )


def answer_matched_files(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the number of received files that match their charges."""
    files = records.result.received_files
    if files:
        yield AnswerWithEvidence(
            text(
                "{compared} of {released} releases: the file that the recipient got is the one"
                " that was charged, and names the noise, sensitivity and purpose of its charge",
                compared=len(files),
                released=records.result.verdict.released,
            ),
            _compared_evidence(list_first_names([file.file for file in files])),
        )


def answer_program_and_digest(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the program that released, and the digest of its code."""
    return _distinct_answers(
        records,
        lambda charge: text(
            "{software}, code digest {digest}",
            software=charge.implementation.software,
            digest=charge.implementation.code_sha256,
        ),
    )


answer_randomness_source = _answer_from_field(lambda charge: charge.implementation.randomness)
"""Answer function: the source of the noise's randomness."""


def answer_count_noise(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the noise on a class count in the newest class statistics."""
    for charge in reversed(records.charges):
        counts = next((x for x in charge.mechanism.blocks if x.name == "counts"), None)
        if counts is not None and charge.guarantee.labels:
            yield AnswerWithEvidence(
                text(
                    "the count of each of {classes} classes, however few records it has, carries"
                    " noise with a standard deviation of {deviation:.3g}",
                    classes=len(charge.guarantee.labels),
                    deviation=charge_derivation.parse_sigma(charge.mechanism.sigma) / counts.weight,
                ),
                _computed_evidence([charge.head.seq]),
            )
            return


def answer_human_decisions(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the numbers of requests that people approved and denied."""
    decision_list = list(records.result.history.state.decisions.values())
    if decision_list:
        yield AnswerWithEvidence(
            text(
                "requests decided by people ({names}): {approved} approved, {denied} denied",
                names=list_first_names(sorted({decision.name for decision in decision_list})),
                approved=sum(decision.approved for decision in decision_list),
                denied=sum(not decision.approved for decision in decision_list),
            ),
            _stated_evidence(decision.head.seq for decision in decision_list),
        )


def answer_chain_and_signatures(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield an answer with evidence: the numbers of chained entries and of signed checkpoints.

    Nothing is yielded if the log itself is the only source of the key that signs it.
    """
    history, source = records.result.history, records.result.verdict.ledger_key.source
    if source != LOG_SOURCE:
        yield AnswerWithEvidence(
            text(
                "entries in one hash chain and Merkle tree under the site's key: {size}; signed"
                " checkpoints: {heads}",
                size=history.state.size,
                heads=len(history.checkpoints),
            ),
            _compared_evidence(text("the ledger key: {source}", source=source)),
        )


def answer_witness_cosignatures(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: how much of the log each witness cosigned, and when.

    Witnesses are left out if the log itself is the only source of their keys.
    """
    for view in records.result.verdict.witnesses:
        if view.size and view.source != LOG_SOURCE:
            yield AnswerWithEvidence(
                text(
                    "{name} cosigned up to entry {to} of {size}, last at {when} UTC, {age} before"
                    " this verification",
                    name=view.name,
                    to=view.size,
                    size=records.result.history.state.size,
                    when=format_utc(view.time),
                    age=format_duration(records.result.freshness.checked - view.time),
                ),
                _compared_evidence(text("the witness's key: {source}", source=view.source)),
            )


def answer_recipients_and_purposes(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the recipients and purposes of releases."""
    uses = [(x.use.recipient, x.use.purpose, x.head.seq) for x in records.charges]
    reuses = records.result.history.state.reuses.values()
    uses += [(x.recipient, x.purpose, x.head.seq) for x in reuses]
    if uses:
        recipients, purposes, indices = zip(*uses, strict=True)
        yield AnswerWithEvidence(
            text(
                "recipients: {recipients}; purposes: {purposes}",
                recipients=list_first_names(list(dict.fromkeys(recipients))),
                purposes=list_first_names(list(dict.fromkeys(purposes))),
            ),
            _stated_evidence(indices),
        )


answer_floating_point_defence = _answer_from_field(
    lambda charge: charge.implementation.floating_point
)
"""Answer function: the defence against floating-point attacks."""


answer_timing_defence = _answer_from_field(lambda charge: charge.implementation.timing)
"""Answer function: the defence against timing attacks."""


def answer_unprotected_data(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the quantities that count as public and are not protected."""
    return _distinct_answers(
        records,
        lambda charge: text(
            "taken as public: {what}; labels: {count}",
            what=translatable_sentence(*charge.guarantee.unprotected),
            count=len(charge.guarantee.labels),
        ),
    )


def answer_log_completeness(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield an answer with evidence, that the audit covers every known log, if it does."""
    if records.result.succession.is_complete:
        yield AnswerWithEvidence(
            text("this account includes every log of the site that the server saw"),
            _compared_evidence(SITES_FILE),
        )


def answer_released_numbers(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the blocks of numbers in a release, clip radius and encoder."""
    return _distinct_answers(
        records,
        lambda charge: text(
            "numbers of one release: {blocks}; clip radius {radius}; features by encoder {encoder}",
            blocks=list_names(
                [f"{x.name} {x.length}" for x in charge.mechanism.blocks if x.length]
            ),
            radius=charge.mechanism.clip_radius,
            encoder=charge.mechanism.encoder,
        ),
    )


def answer_dataset_versions(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the names of the data sets, and the number of their versions."""
    if records.datasets:
        names = list(dict.fromkeys(entry.name for entry in records.datasets))
        yield AnswerWithEvidence(
            text(
                "{names}: versions {count}, each by a keyed commitment to its content; budgets"
                " {budgets}",
                names=list_first_names(names),
                count=len(records.datasets),
                budgets=len(records.result.accounts),
            ),
            _stated_evidence(entry.head.seq for entry in records.datasets),
        )


def answer_release_counts(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the numbers of charges and releases."""
    state = records.result.history.state
    if state.charges:
        yield AnswerWithEvidence(
            text(
                "each release was charged before it was made: charges {charges}, releases"
                " {releases}, burned {burned}; handed out again: {reuses}",
                charges=len(state.charges),
                releases=sum(not charge.is_open for charge in state.charges.values()),
                burned=len(records.result.burned),
                reuses=len(state.reuses),
            ),
            _computed_evidence(state.charges),
        )


def answer_replaced_logs_and_keys(records: LogRecords) -> Iterator[AnswerWithEvidence]:
    """Yield answers with evidence: the log that this log replaces, and the changes of its key."""
    finding = records.result
    if finding.succession.predecessor:
        sentence = text(
            "replaces log {log}: {reason}",
            log=finding.succession.predecessor,
            reason=finding.succession.reason,
        )
        yield AnswerWithEvidence(sentence, _stated_evidence([0]))
    keys = finding.history.state.key_periods[1:]
    if keys:
        change_text = text(
            "signing keys changed, by the word of both keys: {count}", count=len(keys)
        )
        yield AnswerWithEvidence(change_text, _stated_evidence(key.first_size - 1 for key in keys))
