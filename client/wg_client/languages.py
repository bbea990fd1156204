"""The languages of everything that a person at the plant reads."""

from pathlib import Path

from wg_common import translations
from wg_common.language import Code, Language

PLANT = Path(__file__).parent / "locale"


def speaks(code: Code) -> Language:
    """A language with the sentences of the plant's commands, pages and errors."""
    return translations.language_of(code, translations.COMMON, PLANT)
