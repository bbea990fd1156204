"""The modalities, one line each."""

from wg_common.modalities.base import Modality, Record
from wg_common.modalities.images import Images
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_core.errors import DecodeError

MODALITIES: dict[str, Modality] = {kind.name: kind for kind in (Images(), Windows(), Texts())}


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
    return next((modality for modality in MODALITIES.values() if modality.is_file(name)), None)


def of_array(x: Record) -> Modality | None:
    """The modality of an array ``[n, ...]`` of records."""
    return next((modality for modality in MODALITIES.values() if modality.sniff(x)), None)


def list_attribute(attribute: str, word: str) -> str:
    """An attribute of every modality, for messages: ``"images, windows or texts"``."""
    *names, last = (getattr(modality, attribute) for modality in MODALITIES.values())
    return f"{', '.join(names)} {word} {last}"


def listed_columns() -> str:
    """Columns that hold records in tables, for messages."""
    return " or ".join(repr(modality.column) for modality in MODALITIES.values() if modality.column)
