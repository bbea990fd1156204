"""The language of a demo: of its words, its page, and of the commands that it starts."""

from __future__ import annotations

import argparse
import os

from demo.japanese import JAPANESE
from wg_common import language
from wg_common.language import ENGLISH, Code, Language

JAPAN = Language("ja", JAPANESE)
LANGUAGES = (ENGLISH, JAPAN)


def option(parser: argparse.ArgumentParser) -> None:
    """Add ``--language``."""
    parser.add_argument(
        "--language", choices=language.CODES, help="what people read; default: the environment's"
    )


def chosen(code: Code | None) -> Language:
    """The language that is asked for; commands that are started from here on speak it as well."""
    found = code or language.from_environment()
    os.environ[language.VARIABLES[0]] = found
    return next(each for each in LANGUAGES if each.code == found)
