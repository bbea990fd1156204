"""Class names that say a condition of a machine."""

import re

from wg_common.machines.base import MachineKind
from wg_core.errors import ConfigError


def condition_of(kind: MachineKind, label: str) -> int:
    """Number of the condition that a class name says.

    Raises:
        ConfigError: It says none, or more than one.
    """
    label_words = set(re.findall(r"[^\W\d_]+", label.lower()))
    conditions = [
        number
        for number, name in enumerate(kind.conditions)
        if label_words & set(kind.words[name])
        or any(word in label for word in kind.words[name] if not word.isascii())
    ]
    if len(conditions) != 1:
        raise ConfigError(
            f"class {label!r}: no condition of a rolling bearing that is known; expected one of"
            f" {', '.join(words[0] for words in kind.words.values())} in it"
        )
    return conditions[0]
