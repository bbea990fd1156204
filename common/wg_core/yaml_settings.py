"""Parser of YAML files that people write (configurations and plans), with bounds on the work.

A few bytes of YAML can ask for much work: an alias repeats its anchor, so nine lines of nine
aliases make a billion items ("billion laughs"); nesting overflows the stack of a recursive
parser; a plain word may be a date, or a number of a million digits. So the events of the document
are counted before anything is built, aliases are refused, and every exception of the parser
becomes one error that names the file.
"""

from typing import TypeVar

import msgspec
import yaml
from yaml.constructor import BaseConstructor

from wg_core import typed_records
from wg_core.errors import ConfigError, DecodeError

T = TypeVar("T")

DEPTH_LIMIT = 32  # Deepest nesting of a YAML document; our own files have four levels
YAML_EVENTS_LIMIT = 100_000  # Most scalars and brackets in a YAML document
SCALAR_CHARACTERS_LIMIT = 4096  # Longest single value in a YAML document, in characters

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml if present


def read_yaml(data: bytes, *, input_name: str) -> object:
    """Read one YAML document: dictionaries, lists and scalars.

    Args:
        data: The document, UTF-8; the caller bounds its size.

    Raises:
        ConfigError: The text is not YAML, has an alias or a repeated field, or exceeds a limit.
    """
    return read_yaml_and_texts(data, input_name=input_name)[0]


def read_yaml_and_texts(data: bytes, *, input_name: str) -> tuple[object, object]:
    """Read one YAML document, both as values and as the texts written in it.

    Returns:
        The document as ``read_yaml`` returns it, and again with each scalar as its text.

    Raises:
        ConfigError: The same conditions as for ``read_yaml``.
    """
    try:
        text = data.decode("utf-8")
        _check_complexity(text, input_name)
        loader = _Loader(text)
        node = loader.get_single_node()
        _check_unique_keys(node, input_name)
        if node is None:
            return None, None
        plain_values = BaseConstructor().construct_document(node)  # First: values may change it
        return loader.construct_document(node), plain_values
    # ValueError and OverflowError: a malformed date, number or base64 text.
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ConfigError(f"{input_name}: not YAML: {error}") from error


def parse_yaml(data: bytes, record_type: type[T], input_name: str) -> T:
    """Parse one YAML document, as for ``read_yaml``, strictly into a configuration dataclass.

    Raises:
        ConfigError: The text is not YAML, a field is unknown or missing, or a value is wrong.
    """
    return convert_document(read_yaml(data, input_name=input_name), record_type, input_name)


def convert_document(document: object, record_type: type[T], input_name: str) -> T:
    """Convert a document from ``read_yaml`` strictly into a configuration dataclass.

    Raises:
        ConfigError: A field is unknown or missing, or a value is wrong.
    """
    if not isinstance(document, dict):
        word = "an empty file" if document is None else type(document).__name__
        raise ConfigError(f"{input_name}: found {word}, expected fields and values")
    try:
        record = typed_records.convert_to_record(document, record_type)
    except (msgspec.ValidationError, ConfigError, DecodeError) as error:
        hint = _QUOTING_HINT if "Expected `str" in str(error) else ""
        raise ConfigError(f"{input_name}: {error}{hint}") from error
    unknown = sorted(_unknown_fields(document, msgspec.to_builtins(record), ""))
    if unknown:
        raise ConfigError(
            f"{input_name}: unknown fields: {', '.join(unknown)}; remove them, or use the version"
            " of weightgate that wrote them"
        )
    return record


_QUOTING_HINT = (
    ": YAML takes a bare number, yes, no, on, off, null or a date for something else than a word;"
    " put it in quotes"
)


def check_range(field_name: str, value: float, low: float, high: float) -> None:
    """Check that a configured number lies from ``low`` to ``high``, both finite.

    Raises:
        ConfigError: The number is out of range; the message names the field and the bounds.
    """
    if not low <= value <= high:
        raise ConfigError(f"{field_name}: {value}, expected {low} to {high}")


def _unknown_fields(document: object, known_fields: object, prefix: str) -> list[str]:
    if isinstance(document, list) and isinstance(known_fields, list | tuple):
        pairs = enumerate(zip(document, known_fields, strict=False))
        return [name for i, pair in pairs for name in _unknown_fields(*pair, f"{prefix}{i}.")]
    if not (isinstance(document, dict) and isinstance(known_fields, dict)):
        return []
    names = [f"{prefix}{key}" for key in document if key not in known_fields]
    for key in document.keys() & known_fields.keys():
        names += _unknown_fields(document[key], known_fields[key], f"{prefix}{key}.")
    return names


def _check_complexity(text: str, input_name: str) -> None:
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{input_name}: alias *{event.anchor}: aliases are not read")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > SCALAR_CHARACTERS_LIMIT:
            raise ConfigError(
                f"{input_name}: a value of {len(event.value)} characters, at most"
                f" {SCALAR_CHARACTERS_LIMIT}"
            )
        if depth > DEPTH_LIMIT:
            raise ConfigError(f"{input_name}: nested deeper than {DEPTH_LIMIT} levels")
        if count >= YAML_EVENTS_LIMIT:
            raise ConfigError(f"{input_name}: more than {YAML_EVENTS_LIMIT} values and brackets")


def _check_unique_keys(node: yaml.Node | None, input_name: str) -> None:
    """Refuse a mapping with a repeated key, since YAML would silently use the last value."""
    if isinstance(node, yaml.SequenceNode):
        for pair in node.value:
            _check_unique_keys(pair, input_name)
    elif isinstance(node, yaml.MappingNode):
        keys: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in keys:
                line = key.start_mark.line + 1
                raise ConfigError(
                    f"{input_name}: line {line}: field {key.value!r} stands there twice; keep one"
                )
            keys.add(str(key.value))
            _check_unique_keys(value, input_name)
