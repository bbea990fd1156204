"""The words of the console's pages, in each language.

They stand in the catalogues of ``locale`` with a key each, in both languages, so that none can be
missing. Sentences on where a site stands are in ``wg_server.campaigns.wording``. A text is plain,
never markup: pages escape it.

Why an operator's action failed, and what the operators' log says beside it, is kept in English and
told by its shape, as plants' errors are.
"""

from functools import cache
from pathlib import Path

from wg_common import translations
from wg_common.language import CODES, ENGLISH, Catalogue, Code, Language
from wg_server.campaigns.wording import Speaker

FOLDER = Path(__file__).parent / "locale"
KIND = "page"
"""What stands before the keys."""


class Speech:
    """The words of pages in one language.

    Attributes:
        language: Code of the language.
        span: Says a span of time, given in seconds.
    """

    def __init__(self, language: Code) -> None:
        self.language = language
        self.span = Speaker(language).span
        self._texts = translations.texts(language, FOLDER, KIND)

    def __call__(self, key: str, **figures: object) -> str:
        """One text, with its figures."""
        return self._texts[key].format(**figures)

    def __contains__(self, key: str) -> bool:
        """Return whether there is a text with this key."""
        return key in self._texts

    def action(self, action: str) -> str:
        """Word an operator's action for the log; the action itself where it has no text."""
        key = f"act {action}"
        return self(key) if key in self else action

    def error(self, english: str) -> str:
        """Why something failed, as far as its shape is known."""
        return _of_the_log(self.language).error(english)

    def detail(self, action: str, english: str) -> str:
        """Word the detail that the log gives beside an action."""
        if action != "failed" or self.language == ENGLISH.code:
            return self.error(english)
        attempt, _, why = english.partition(": ")
        return f"{self.action(attempt)}：{self.error(why)}"


@cache
def _of_the_log(language: Code) -> Language:
    """A language with the shapes of what the log says, and with states, as the store names them."""
    catalogue = translations.language_of(language, FOLDER)
    if not isinstance(catalogue.catalogue, Catalogue):
        return catalogue
    states = {
        state: text
        for key, text in translations.texts(language, FOLDER, KIND).items()
        for stem, _, state in (key.partition(" "),)
        if state and stem in ("campaign", "part", "site", "standing")
    }
    return Language(language, Catalogue({}, {**states, **catalogue.catalogue.errors}))


def choose_language(choice: str | None, accept_header: str) -> Code:
    """The language of a page.

    Args:
        choice: What the reader chose once, if anything.
        accept_header: The browser's ``Accept-Language``.
    """
    first_language = accept_header.split(",")[0].strip().lower()
    matches = [code for code in CODES if code == choice]
    return (
        matches or [code for code in CODES if first_language.startswith(code)] or [ENGLISH.code]
    )[0]
