"""The languages of what an operator reads at the command line."""

from pathlib import Path

from wg_common import translations
from wg_common.language import Code, Language

OPERATOR = Path(__file__).parent / "locale"


def speaks(code: Code) -> Language:
    """A language with the sentences of the operator's commands."""
    return translations.language_of(code, translations.COMMON, OPERATOR)
