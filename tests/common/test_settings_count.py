"""How much there is to set: fields of all files that a person writes, and no more than stays."""

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import msgspec

from wg_core.site.config import ClientSettings
from wg_server.generator.plan import GeneratorPlan
from wg_server.site.home import ServerConfig
from wg_server.zoo.plan import ZooPlan

FILES = (ClientSettings, ServerConfig, ZooPlan, GeneratorPlan)
LIMIT = 82


def parts(hint: Any) -> Iterator[Any]:
    """Records within a type: itself, and those of its arguments."""
    if dataclasses.is_dataclass(hint) or (
        isinstance(hint, type) and issubclass(hint, msgspec.Struct)
    ):
        yield hint
    for argument in get_args(hint):
        yield from parts(argument)


def settings(kind: Any, prefix: str = "") -> Iterator[str]:
    """Settings of a file, by their paths; a field that holds records counts by their fields."""
    hints = get_type_hints(kind)
    fields = msgspec.structs.fields if issubclass(kind, msgspec.Struct) else dataclasses.fields
    for field in fields(kind):
        name = prefix + field.name
        within = tuple(parts(hints[field.name]))
        yield from (path for part in within for path in settings(part, f"{name}."))
        if not within:
            yield name


def test_there_are_few_settings() -> None:
    names = [f"{kind.__name__}.{name}" for kind in FILES for name in settings(kind)]
    assert len(names) <= LIMIT, "\n".join(names)
