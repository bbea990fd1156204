"""Says the sentences of ``reasons``: what is, why, and what a person can do about it.

They stand in the catalogues of ``locale`` with a key each, in both languages, so that none can be
missing. Commands are written as they are typed. Among them are the words of plants
(``wg_core.wire.fleet``), as ``plant CODE``.
"""

from pathlib import Path

from wg_common import translations
from wg_common.language import Code
from wg_core.wire import fleet

FOLDER = Path(__file__).parent / "locale"
KIND = "reason"
"""What stands before the keys."""

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
"""Seconds of each unit, largest first; its texts are ``one UNIT`` and ``UNITs``."""


class Speaker:
    """Says the sentences in one language."""

    def __init__(self, language: Code) -> None:
        self._texts = translations.texts(language, FOLDER, KIND)

    def __call__(self, key: str, **figures: object) -> str:
        """One sentence, with its figures; the empty key says nothing."""
        return self._texts[key].format(**figures) if key else ""

    def of_plant(self, code: str) -> str | None:
        """Return the meaning of a plant's word; None if it is none."""
        has_meaning = code in fleet.REFUSALS or code in fleet.MEANING
        return self(f"plant {code}") if has_meaning else None

    def span(self, seconds: float) -> str:
        """A span of time in its largest unit, such as ``2 days``; a second at least."""
        size, unit = next((scale for scale in _UNITS if seconds >= scale[0]), _UNITS[-1])
        number = max(int(seconds // size), 1)
        return self(f"one {unit}" if number == 1 else f"{unit}s", n=number)

    def times(self, count: int) -> str:
        """Word a count of times: ``once``, ``3 times``."""
        return self("once") if count == 1 else self("times", n=count)
