"""Texts of the console's pages in each language.

The catalogues in ``locale`` hold each text under a key in both languages, so that none can be
missing. Texts on the status of sites are in ``wg_server.campaigns.status_texts``. A text is plain,
never markup: pages escape it.

Error messages and details in the operators' log are stored in English, and translated by matching
their pattern, as plants' errors are.
"""

from functools import cache
from pathlib import Path

from wg_common import translations
from wg_common.language import ENGLISH, LANGUAGE_CODES, Catalogue, Language, LanguageCode
from wg_server.campaigns.status_texts import TextFormatter

PAGE_CATALOGUE_FOLDER = Path(__file__).parent / "locale"
CATALOGUE_KEY_PREFIX = "page"
"""Prefix of the catalogue keys."""


class PageTexts:
    """Texts of pages in one language.

    Attributes:
        language: Code of the language.
        span: Function that formats a duration, which is given in seconds.
    """

    def __init__(self, language: LanguageCode) -> None:
        self.language = language
        self.span = TextFormatter(language).format_duration
        self._texts = translations.load_templates(
            language, PAGE_CATALOGUE_FOLDER, CATALOGUE_KEY_PREFIX
        )

    def __call__(self, key: str, **figures: object) -> str:
        """Return the text of a key, with its figures filled in."""
        return self._texts[key].format(**figures)

    def __contains__(self, key: str) -> bool:
        """Return whether there is a text with this key."""
        return key in self._texts

    def translate_action(self, action: str) -> str:
        """Translate an operator's action in the log; an unknown action is returned unchanged."""
        key = f"act {action}"
        return self(key) if key in self else action

    def translate_error(self, english_text: str) -> str:
        """Translate an error message if its pattern is known."""
        return _load_log_language(self.language).translate_error(english_text)

    def translate_detail(self, action: str, english_text: str) -> str:
        """Translate a log entry's detail; after a failure, it begins with the failed action."""
        if action != "failed" or self.language == ENGLISH.code:
            return self.translate_error(english_text)
        attempt, _, why = english_text.partition(": ")
        return f"{self.translate_action(attempt)}：{self.translate_error(why)}"


@cache
def _load_log_language(language: LanguageCode) -> Language:
    """Return a language that translates log messages, and the states that occur in them."""
    catalogue = translations.load_language(language, PAGE_CATALOGUE_FOLDER)
    if not isinstance(catalogue.catalogue, Catalogue):
        return catalogue
    states = {
        state: text
        for key, text in translations.load_templates(
            language, PAGE_CATALOGUE_FOLDER, CATALOGUE_KEY_PREFIX
        ).items()
        for stem, _, state in (key.partition(" "),)
        if state and stem in ("campaign", "part", "site", "standing")
    }
    return Language(language, Catalogue({}, {**states, **catalogue.catalogue.errors}))


def choose_language(earlier_choice: str | None, accept_header: str) -> LanguageCode:
    """Return the language of a page.

    Args:
        earlier_choice: Language that the reader chose earlier, or None.
        accept_header: The browser's ``Accept-Language`` header.
    """
    first_language = accept_header.split(",")[0].strip().lower()
    matches = [code for code in LANGUAGE_CODES if code == earlier_choice]
    return (
        matches
        or [code for code in LANGUAGE_CODES if first_language.startswith(code)]
        or [ENGLISH.code]
    )[0]
