"""Languages of all texts that people at the plant read."""

from pathlib import Path

from wg_common import translations
from wg_common.language import Language, LanguageCode

PLANT_CATALOGUES = Path(__file__).parent / "locale"


def load_plant_language(code: LanguageCode) -> Language:
    """Return a language with the texts of the plant's commands, pages and errors."""
    return translations.load_language(code, translations.COMMON_CATALOGUE_FOLDER, PLANT_CATALOGUES)
