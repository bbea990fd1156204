"""Languages of the texts in the operator's commands."""

from pathlib import Path

from wg_common import translations
from wg_common.language import Language, LanguageCode

OPERATOR_CATALOGUE_FOLDER = Path(__file__).parent / "locale"


def load_operator_language(code: LanguageCode) -> Language:
    """Return a language with the texts of the operator's commands."""
    return translations.load_language(
        code, translations.COMMON_CATALOGUE_FOLDER, OPERATOR_CATALOGUE_FOLDER
    )
