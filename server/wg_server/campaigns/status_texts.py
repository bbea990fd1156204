"""Texts of ``status_reasons`` in each language: state, cause, and what a person can do.

The catalogues in ``locale`` hold each text under a key in both languages, so that none can be
missing. Commands are spelled as they are typed. The meaning of a code that plants send
(``wg_core.wire.flower_messages``) stands under the key ``plant CODE``.
"""

from pathlib import Path

from wg_common import translations
from wg_common.language import LanguageCode
from wg_core.wire import flower_messages

REASON_CATALOGUE_FOLDER = Path(__file__).parent / "locale"
CATALOGUE_KEY_PREFIX = "reason"
"""Prefix of the catalogue keys."""

_DURATION_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
"""Units by their seconds, largest first; their text keys are ``one UNIT`` and ``UNITs``."""


class TextFormatter:
    """Formatter of the texts about sites and campaigns in one language."""

    def __init__(self, language: LanguageCode) -> None:
        self._texts = translations.load_templates(
            language, REASON_CATALOGUE_FOLDER, CATALOGUE_KEY_PREFIX
        )

    def __call__(self, key: str, **figures: object) -> str:
        """Return the text of a key, with its numbers filled in; empty for the empty key."""
        return self._texts[key].format(**figures) if key else ""

    def explain_plant_code(self, code: str) -> str | None:
        """Return the meaning of a code that a plant sent; None if the code is unknown."""
        has_meaning = (
            code in flower_messages.REFUSAL_MEANINGS or code in flower_messages.DECLINE_MEANINGS
        )
        return self(f"plant {code}") if has_meaning else None

    def format_duration(self, seconds: float) -> str:
        """Format a duration in its largest unit, such as ``2 days``; at least one second."""
        size, unit = next(
            (scale for scale in _DURATION_UNITS if seconds >= scale[0]), _DURATION_UNITS[-1]
        )
        number = max(int(seconds // size), 1)
        return self(f"one {unit}" if number == 1 else f"{unit}s", n=number)

    def format_count(self, count: int) -> str:
        """Format a number of times: ``once``, ``3 times``."""
        return self("once") if count == 1 else self("times", n=count)
