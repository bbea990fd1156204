"""Registry of the modalities (kinds of records), by name, file or array."""

from wg_common.modalities.base import Modality, Record
from wg_common.modalities.images import Images
from wg_common.modalities.texts import Texts
from wg_common.modalities.windows import Windows
from wg_core.errors import DecodeError

MODALITIES: dict[str, Modality] = {kind.name: kind for kind in (Images(), Windows(), Texts())}


def find_modality(name: str) -> Modality:
    """Look up a modality by name.

    Raises:
        DecodeError: There is no such modality.
    """
    if name not in MODALITIES:
        raise DecodeError(f"modality {name!r}: this program knows {', '.join(MODALITIES)}")
    return MODALITIES[name]


def modality_of_file(name: str) -> Modality | None:
    """Return the modality of a file that holds one record, judged by the file's name."""
    return next(
        (modality for modality in MODALITIES.values() if modality.is_record_file(name)), None
    )


def modality_of_array(x: Record) -> Modality | None:
    """Return the modality of an array of records, judged by the array's type and shape."""
    return next((modality for modality in MODALITIES.values() if modality.matches_array(x)), None)


def list_modality_attribute(attribute: str, conjunction: str) -> str:
    """List an attribute of every modality, for messages: ``"images, windows or texts"``."""
    *names, last = (getattr(modality, attribute) for modality in MODALITIES.values())
    return f"{', '.join(names)} {conjunction} {last}"


def list_record_columns() -> str:
    """List the names of the record columns in tables, for messages: ``"'text'"``."""
    return " or ".join(
        repr(modality.record_column) for modality in MODALITIES.values() if modality.record_column
    )
