"""The languages of what an operator reads at the command line."""

from pathlib import Path

from wg_common import translations
from wg_common.language import Code, Language, current, pad_columns

OPERATOR = Path(__file__).parent / "locale"


def speaks(code: Code) -> Language:
    """A language with the sentences of the operator's commands."""
    return translations.language_of(code, translations.COMMON, OPERATOR)


def say_state(state: str, columns: int = 0) -> str:
    """The state of a site, campaign or release as the console says it; in English as it is stored.

    Args:
        columns: Columns that it takes at least.
    """
    from wg_server.console.messages import Speech

    return pad_columns(Speech(current().code).error(state), columns)
