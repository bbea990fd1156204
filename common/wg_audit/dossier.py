"""Dossier: questions of NIST SP 800-226 and ISO/IEC 27559, answered from a verified log.

- NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (March 2025): the
  blocks of its pyramid from the top, each with its chapter.
- ISO/IEC 27559:2022, Privacy enhancing data de-identification framework: the subclauses of clauses
  6 to 9.

A question without evidence in the log stays unanswered.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wg_audit import dossier_answers
from wg_audit.dossier_answers import AnswerWithEvidence, LogRecords
from wg_common.language import template, text


@dataclass(frozen=True, slots=True)
class FormQuestion:
    """Question of a standard, with its answers from a log.

    Attributes:
        topic: Question, as a phrase.
        evidence: Answers, each with its evidence; empty if the log has no evidence.
    """

    topic: str
    evidence: tuple[AnswerWithEvidence, ...]


@dataclass(frozen=True, slots=True)
class FormSection:
    """Section of a form: a chapter of NIST SP 800-226, or a clause of ISO/IEC 27559.

    Attributes:
        number: Number of the chapter or clause.
        name: Title of the section.
        lines: Questions of the section.
    """

    number: str
    name: str
    lines: tuple[FormQuestion, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """Questions of one standard, with their answers: its name, and its sections in order."""

    name: str
    sections: tuple[FormSection, ...]


AnswerFunction = Callable[[LogRecords], Iterator[AnswerWithEvidence]]
_QuestionRow = tuple[str, tuple[AnswerFunction, ...]]
_SectionRow = tuple[str, str, tuple[_QuestionRow, ...]]


def answer_forms(records: LogRecords) -> tuple[Form, ...]:
    """Answer the questions of NIST SP 800-226 and ISO/IEC 27559 from a verified log."""
    return tuple(_fill_in_form(name, sections, records) for name, sections in _FORMS)


def _fill_in_form(name: str, sections: Iterable[_SectionRow], records: LogRecords) -> Form:
    return Form(
        name,
        tuple(
            FormSection(
                number, text(title), tuple(_answer_question(line, records) for line in lines)
            )
            for number, title, lines in sections
        ),
    )


def _answer_question(row: _QuestionRow, records: LogRecords) -> FormQuestion:
    topic, questions = row
    return FormQuestion(text(topic), tuple(answer for ask in questions for answer in ask(records)))


# --- forms

_NIST_SECTIONS: tuple[_SectionRow, ...] = (
    (
        "2",
        template("Privacy parameters"),
        (
            (
                template("ε and δ of all releases together"),
                (dossier_answers.answer_composed_epsilon,),
            ),
            (template("budget"), (dossier_answers.answer_budget_caps,)),
            (
                template("variant of differential privacy"),
                (dossier_answers.answer_privacy_variant,),
            ),
            (
                template("other releases of the same data"),
                (dossier_answers.answer_log_completeness,),
            ),
        ),
    ),
    (
        "2",
        template("Unit of privacy"),
        (
            (template("unit and neighbouring relation"), (dossier_answers.answer_privacy_unit,)),
            (template("several records of a unit"), (dossier_answers.answer_contribution_rule,)),
        ),
    ),
    (
        "3",
        template("Algorithms and correctness"),
        (
            (template("mechanism and accountant"), (dossier_answers.answer_noise_mechanism,)),
            (
                template("sensitivity and noise"),
                (dossier_answers.answer_rederived_charges, dossier_answers.answer_matched_files),
            ),
            (template("sampling of noise"), (dossier_answers.answer_randomness_source,)),
            (template("program"), (dossier_answers.answer_program_and_digest,)),
            (template("empirical audit"), ()),
        ),
    ),
    (
        "3",
        template("Utility"),
        ((template("accuracy of what is released"), (dossier_answers.answer_count_noise,)),),
    ),
    (
        "3",
        template("Bias"),
        (
            (template("noise on small classes"), (dossier_answers.answer_count_noise,)),
            (template("bias of the data"), ()),
        ),
    ),
    (
        "4",
        template("Access control"),
        (
            (template("access to the records"), ()),
            (template("who decides on requests"), (dossier_answers.answer_human_decisions,)),
            (
                template("the record of releases is complete and unchanged"),
                (
                    dossier_answers.answer_chain_and_signatures,
                    dossier_answers.answer_witness_cosignatures,
                ),
            ),
        ),
    ),
    (
        "4",
        template("Trust models"),
        (
            (
                template("who gets what, and for what"),
                (dossier_answers.answer_recipients_and_purposes,),
            ),
            (template("what the recipient got"), (dossier_answers.answer_matched_files,)),
        ),
    ),
    (
        "4",
        template("Side channels"),
        (
            (template("floating point"), (dossier_answers.answer_floating_point_defence,)),
            (template("timing"), (dossier_answers.answer_timing_defence,)),
        ),
    ),
    (
        "4",
        template("Data collection exposure"),
        (
            (template("what is not protected"), (dossier_answers.answer_unprotected_data,)),
            (template("how the data were collected, and who else has them"), ()),
        ),
    ),
)

_ISO_SECTIONS: tuple[_SectionRow, ...] = (
    (
        "6",
        template("Context assessment"),
        (
            (template("6.2.2 security and privacy practices"), ()),
            (
                template("6.2.3 motives and capacity to re-identify"),
                (dossier_answers.answer_recipients_and_purposes,),
            ),
            (
                template("6.3.2 transparency and stakeholders"),
                (dossier_answers.answer_witness_cosignatures,),
            ),
            (template("6.3.3 privacy-related harms"), ()),
        ),
    ),
    (
        "7",
        template("Data assessment"),
        (
            (
                template("7.2.2 data principals"),
                (dossier_answers.answer_privacy_unit, dossier_answers.answer_contribution_rule),
            ),
            (template("7.2.3 data type"), (dossier_answers.answer_released_numbers,)),
            (template("7.2.4 attribute types"), (dossier_answers.answer_unprotected_data,)),
            (template("7.2.5 dataset properties"), (dossier_answers.answer_dataset_versions,)),
            (
                template("7.3.2 maximum or average risk"),
                (dossier_answers.answer_guess_success_rate,),
            ),
            (
                template("7.3.3 population or sample-based attack"),
                (dossier_answers.answer_subsampling,),
            ),
            (template("7.3.4 data privacy models"), (dossier_answers.answer_privacy_variant,)),
        ),
    ),
    (
        "8",
        template("Identifiability assessment and mitigation"),
        (
            (
                template("8.2.2 quantifying identifiability"),
                (dossier_answers.answer_composed_epsilon,),
            ),
            (template("8.2.3 adversarial testing"), ()),
            (template("8.3.2 reconfiguring the environment"), ()),
            (
                template("8.3.3 transforming the data"),
                (dossier_answers.answer_noise_mechanism, dossier_answers.answer_rederived_charges),
            ),
            (template("8.3.4 re-evaluation"), (dossier_answers.answer_matched_files,)),
        ),
    ),
    (
        "9",
        template("De-identification governance"),
        (
            (
                template("9.2.2 roles and responsibilities"),
                (dossier_answers.answer_human_decisions,),
            ),
            (
                template("9.2.3 principles, policies and procedures"),
                (dossier_answers.answer_budget_caps,),
            ),
            (
                template("9.2.4 managing a data disclosure"),
                (dossier_answers.answer_release_counts,),
            ),
            (template("9.2.5 communicating with stakeholders"), ()),
            (
                template("9.3.2 monitoring the data environment"),
                (
                    dossier_answers.answer_chain_and_signatures,
                    dossier_answers.answer_log_completeness,
                ),
            ),
            (
                template("9.4 mitigation in case of incident"),
                (dossier_answers.answer_replaced_logs_and_keys,),
            ),
        ),
    ),
)

_FORMS = (("NIST SP 800-226", _NIST_SECTIONS), ("ISO/IEC 27559:2022", _ISO_SECTIONS))
