"""Language of the demo: of its own texts, its report, and the commands that it runs."""

import argparse
import os
from pathlib import Path

from wg_client.plant_language import PLANT_CATALOGUES
from wg_common import language, translations
from wg_common.language import Language, LanguageCode

DEMO = Path(__file__).parent / "locale"


def load_demo_language(code: LanguageCode) -> Language:
    """Return a language with the texts of the demo and of the product's commands and pages."""
    return translations.load_language(
        code, translations.COMMON_CATALOGUE_FOLDER, PLANT_CATALOGUES, DEMO
    )


def add_language_option(parser: argparse.ArgumentParser) -> None:
    """Add the option ``--language`` to a parser."""
    parser.add_argument(
        "--language",
        choices=language.LANGUAGE_CODES,
        help="what people read; default: the environment's",
    )


def set_language(code: LanguageCode | None) -> Language:
    """Return a language, the environment's if ``code`` is None; later commands also use it."""
    found = code or language.environment_language()
    os.environ[language.LANGUAGE_VARIABLES[0]] = found
    return load_demo_language(found)
