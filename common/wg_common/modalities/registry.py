"""The modalities, one line each."""

from wg_common.modalities.base import Modality, Record
from wg_common.modalities.images import Images
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_core.errors import DecodeError

MODALITIES: dict[str, Modality] = {found.name: found for found in (Images(), Windows(), Texts())}


def modality(name: str) -> Modality:
    """The modality of a name.

    Raises:
        DecodeError: No such modality.
    """
    if name not in MODALITIES:
        raise DecodeError(f"modality {name!r}: this program knows {', '.join(MODALITIES)}")
    return MODALITIES[name]


def of_file(name: str) -> Modality | None:
    """The modality of the one record that a file holds, by its name."""
    return next((found for found in MODALITIES.values() if found.is_file(name)), None)


def of_array(x: Record) -> Modality | None:
    """The modality of an array ``[n, ...]`` of records."""
    return next((found for found in MODALITIES.values() if found.sniff(x)), None)


def listed(attribute: str, word: str) -> str:
    """An attribute of every modality, for messages: ``"images, windows or texts"``."""
    *first, last = (getattr(found, attribute) for found in MODALITIES.values())
    return f"{', '.join(first)} {word} {last}"


def listed_columns() -> str:
    """Columns that hold records in tables, for messages."""
    return " or ".join(repr(found.column) for found in MODALITIES.values() if found.column)
