"""Dossier: two auditors' forms, answered from a verified log and its files.

- NIST SP 800-226, Guidelines for Evaluating Differential Privacy Guarantees (March 2025): the
  blocks of its pyramid from the top, each with its chapter.
- ISO/IEC 27559:2022, Privacy enhancing data de-identification framework: the subclauses of clauses
  6 to 9.

A line without evidence stays empty.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from wg_audit import answers
from wg_audit.answers import Evidence, Records
from wg_common.language import template, text


@dataclass(frozen=True, slots=True)
class Line:
    """Question of a form with its answers; empty without evidence."""

    topic: str
    evidence: tuple[Evidence, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """Block or clause of a form: its number, name and lines."""

    number: str
    name: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Form:
    """Form with all its sections, in the form's order."""

    name: str
    sections: tuple[Section, ...]


Question = Callable[[Records], Iterator[Evidence]]
_Line = tuple[str, tuple[Question, ...]]
_Section = tuple[str, str, tuple[_Line, ...]]


def forms(records: Records) -> tuple[Form, ...]:
    """Answer both forms."""
    return tuple(_form(name, sections, records) for name, sections in _FORMS)


def _form(name: str, sections: Iterable[_Section], records: Records) -> Form:
    return Form(
        name,
        tuple(
            Section(number, text(title), tuple(_line(line, records) for line in lines))
            for number, title, lines in sections
        ),
    )


def _line(line: _Line, records: Records) -> Line:
    topic, questions = line
    return Line(text(topic), tuple(answer for ask in questions for answer in ask(records)))


# --- forms

_NIST: tuple[_Section, ...] = (
    (
        "2",
        template("Privacy parameters"),
        (
            (template("ε and δ of all releases together"), (answers.epsilon,)),
            (template("budget"), (answers.cap,)),
            (template("variant of differential privacy"), (answers.variant,)),
            (template("other releases of the same data"), (answers.logs,)),
        ),
    ),
    (
        "2",
        template("Unit of privacy"),
        (
            (template("unit and neighbouring relation"), (answers.unit,)),
            (template("several records of a unit"), (answers.contributions,)),
        ),
    ),
    (
        "3",
        template("Algorithms and correctness"),
        (
            (template("mechanism and accountant"), (answers.mechanism,)),
            (template("sensitivity and noise"), (answers.rederived_charges, answers.files)),
            (template("sampling of noise"), (answers.randomness,)),
            (template("program"), (answers.program,)),
            (template("empirical audit"), ()),
        ),
    ),
    (
        "3",
        template("Utility"),
        ((template("accuracy of what is released"), (answers.count_noise,)),),
    ),
    (
        "3",
        template("Bias"),
        (
            (template("noise on small classes"), (answers.count_noise,)),
            (template("bias of the data"), ()),
        ),
    ),
    (
        "4",
        template("Access control"),
        (
            (template("access to the records"), ()),
            (template("who decides on requests"), (answers.decisions,)),
            (
                template("the record of releases is complete and unchanged"),
                (answers.chain, answers.witnesses),
            ),
        ),
    ),
    (
        "4",
        template("Trust models"),
        (
            (template("who gets what, and for what"), (answers.recipients,)),
            (template("what the recipient got"), (answers.files,)),
        ),
    ),
    (
        "4",
        template("Side channels"),
        (
            (template("floating point"), (answers.floating_point,)),
            (template("timing"), (answers.timing,)),
        ),
    ),
    (
        "4",
        template("Data collection exposure"),
        (
            (template("what is not protected"), (answers.public,)),
            (template("how the data were collected, and who else has them"), ()),
        ),
    ),
)

_ISO: tuple[_Section, ...] = (
    (
        "6",
        template("Context assessment"),
        (
            (template("6.2.2 security and privacy practices"), ()),
            (template("6.2.3 motives and capacity to re-identify"), (answers.recipients,)),
            (template("6.3.2 transparency and stakeholders"), (answers.witnesses,)),
            (template("6.3.3 privacy-related harms"), ()),
        ),
    ),
    (
        "7",
        template("Data assessment"),
        (
            (template("7.2.2 data principals"), (answers.unit, answers.contributions)),
            (template("7.2.3 data type"), (answers.blocks,)),
            (template("7.2.4 attribute types"), (answers.public,)),
            (template("7.2.5 dataset properties"), (answers.versions,)),
            (template("7.3.2 maximum or average risk"), (answers.guess,)),
            (template("7.3.3 population or sample-based attack"), (answers.subsampling,)),
            (template("7.3.4 data privacy models"), (answers.variant,)),
        ),
    ),
    (
        "8",
        template("Identifiability assessment and mitigation"),
        (
            (template("8.2.2 quantifying identifiability"), (answers.epsilon,)),
            (template("8.2.3 adversarial testing"), ()),
            (template("8.3.2 reconfiguring the environment"), ()),
            (
                template("8.3.3 transforming the data"),
                (answers.mechanism, answers.rederived_charges),
            ),
            (template("8.3.4 re-evaluation"), (answers.files,)),
        ),
    ),
    (
        "9",
        template("De-identification governance"),
        (
            (template("9.2.2 roles and responsibilities"), (answers.decisions,)),
            (template("9.2.3 principles, policies and procedures"), (answers.cap,)),
            (template("9.2.4 managing a data disclosure"), (answers.disclosures,)),
            (template("9.2.5 communicating with stakeholders"), ()),
            (template("9.3.2 monitoring the data environment"), (answers.chain, answers.logs)),
            (template("9.4 mitigation in case of incident"), (answers.incidents,)),
        ),
    ),
)

_FORMS = (("NIST SP 800-226", _NIST), ("ISO/IEC 27559:2022", _ISO))
