"""``client.yaml``: what the plant decides. Frozen records, read strictly, written atomically.

Settings that change privacy (``privacy``) and results (``acceptance``) stand apart from those that
only say where things are (``data``, ``server``). An unknown field is refused: a misspelt cap must
not silently become the default.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Literal

import msgspec
import yaml

from wg_client.home import ClientHome
from wg_common import atomic, protocol
from wg_common.errors import ConfigError, DecodeError

VERSION = 1
CONFIG_LIMIT = 1 << 20
LABEL_LIMIT = 1000
ANY_PURPOSE = "*"

UnitRule = Literal["record", "weight", "cap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """The pinned server.

    Attributes:
        fleet_url: ``https://host:port`` of the fleet listener.
        name: Server name, as in its signatures.
        signing_key: Raw Ed25519 key that signs weights packages, hex.
        witness_name: Key name of the ledger's witness.
        witness_key: Raw Ed25519 key of the witness, hex.
    """

    fleet_url: str
    name: str
    signing_key: str
    witness_name: str
    witness_key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """The data set.

    Attributes:
        name: Public name on the ledger; carries the budget.
        path: Folder or ``.npz`` file.
        labels: Public label domain, in the order of class rows. Declared, never counted: a class
            without a record may stand here, and means "it can occur".
        unit_column: Column (``records.csv``) or array (``.npz``) that names the privacy unit of a
            record, or null: each record is its own unit.
    """

    name: str
    path: str
    labels: tuple[str, ...]
    unit_column: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.labels) <= LABEL_LIMIT:
            raise ConfigError(
                f"data.labels: {len(self.labels)} labels, expected 1 to {LABEL_LIMIT}"
            )
        if len(set(self.labels)) != len(self.labels):
            raise ConfigError("data.labels: a label stands there twice")
        for label in self.labels:
            if not label or label != label.strip() or len(label) > 100 or not label.isprintable():
                raise ConfigError(
                    f"data.labels: {label!r}: expected 1 to 100 printable characters"
                    " without white space at either end"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    """What may be asked of this plant, and how much in all.

    Attributes:
        cap_epsilon: Cap on the composed epsilon of the data set, decimal string.
        cap_delta: Delta at which the cap holds, decimal string.
        max_request_epsilon: Largest epsilon of one request, decimal string.
        max_request_delta: Largest delta of one request, decimal string.
        unit_rule: ``record``: each record is a unit. ``weight``: a unit's records share weight 1.
            ``cap``: at most ``unit_cap`` records of a unit count.
        unit_cap: See ``unit_rule``.
        purposes: Purposes that are allowed, word for word; ``*`` allows any.
        message_types: Messages that are answered at all.
        answer_slot_seconds: Answers leave at multiples of this many seconds after the request
            came, so that the time taken says little about the data. 0 turns it off.
    """

    cap_epsilon: str = "8"
    cap_delta: str = "1e-5"
    max_request_epsilon: str = "4"
    max_request_delta: str = "1e-5"
    unit_rule: UnitRule = "record"
    unit_cap: int = 1
    purposes: tuple[str, ...] = (ANY_PURPOSE,)
    message_types: tuple[str, ...] = (protocol.QUERY_STATISTICS, protocol.TRAIN_FINETUNE)
    answer_slot_seconds: float = 2.0

    def __post_init__(self) -> None:
        for name in ("cap_epsilon", "max_request_epsilon"):
            positive_decimal(getattr(self, name), f"privacy.{name}")
        for name in ("cap_delta", "max_request_delta"):
            if positive_decimal(getattr(self, name), f"privacy.{name}") >= 1:
                raise ConfigError(f"privacy.{name}: {getattr(self, name)}, expected below 1")
        if not 1 <= self.unit_cap <= 1000:
            raise ConfigError(f"privacy.unit_cap: {self.unit_cap}, expected 1 to 1000")
        unknown = set(self.message_types) - protocol.MESSAGE_TYPES
        if unknown:
            raise ConfigError(
                f"privacy.message_types: unknown {sorted(unknown)}, expected some of"
                f" {sorted(protocol.MESSAGE_TYPES)}"
            )
        slot = self.answer_slot_seconds
        if not (math.isfinite(slot) and 0 < slot <= 3600):
            raise ConfigError(
                f"privacy.answer_slot_seconds: {slot}, expected above 0 and at most 3600"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceConfig:
    """When delivered weights replace what the plant can do alone; see ``wg_client.acceptance``.

    Attributes:
        caution: Standard deviations of the estimated gain that must stay above zero.
        prior_records: Records' worth of belief that delivered weights change nothing.
        unseen_share: A declared class without local records counts as this share of an average
            class.
        without_labels: Whether delivered weights are kept when no local label can check them.
    """

    caution: float = 0.5
    prior_records: float = 10.0
    unseen_share: float = 1.0
    without_labels: bool = True

    def __post_init__(self) -> None:
        for name, low, high in (
            ("caution", 0.0, 10.0),
            ("prior_records", 0.0, 1e6),
            ("unseen_share", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ConfigError(f"acceptance.{name}: {value}, expected {low} to {high}")


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """What the plant lets into its disk. Changes neither privacy nor results.

    Attributes:
        max_package_bytes: Largest weights package that is taken.
    """

    max_package_bytes: int = 2 << 30

    def __post_init__(self) -> None:
        if not 1 <= self.max_package_bytes <= protocol.WEIGHTS_LIMIT:
            raise ConfigError(
                f"limits.max_package_bytes: {self.max_package_bytes}, expected 1 to"
                f" {protocol.WEIGHTS_LIMIT}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """All of ``client.yaml``."""

    version: int = VERSION
    site: str
    server: ServerConfig
    data: DataConfig
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ConfigError(f"version: {self.version}, this program reads {VERSION}")
        protocol.check_site_name(self.site)
        if self.privacy.unit_rule != "record" and self.data.unit_column is None:
            raise ConfigError(
                f"privacy.unit_rule: {self.privacy.unit_rule} needs data.unit_column, found null"
            )


def positive_decimal(text: str, what: str) -> Decimal:
    """Read a positive, finite decimal string.

    Raises:
        ConfigError: It is none.
    """
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ConfigError(f"{what}: {text!r} is no decimal number") from error
    if not value.is_finite() or value <= 0:
        raise ConfigError(f"{what}: {text}, expected above 0")
    return value


def save(home: ClientHome, config: ClientConfig) -> None:
    """Write ``client.yaml``; an older one is replaced in one step."""
    text = yaml.safe_dump(msgspec.to_builtins(config), sort_keys=False, allow_unicode=True)
    atomic.write_bytes(home.config, text.encode("utf-8"), mode=atomic.PRIVATE)


def load(home: ClientHome) -> ClientConfig:
    """Read ``client.yaml``.

    Raises:
        ConfigError: It is missing, or a field is unknown, missing or out of range; named.
    """
    home.require()
    data = atomic.read_bytes(home.config, limit=CONFIG_LIMIT)
    try:
        document = yaml.safe_load(data.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{home.config}: not YAML: {error}") from error
    try:
        config = msgspec.convert(document, ClientConfig)
    except (msgspec.ValidationError, ConfigError, DecodeError) as error:
        raise ConfigError(f"{home.config}: {error}") from error
    unknown = sorted(_unknown(document, msgspec.to_builtins(config), ""))
    if unknown:
        raise ConfigError(f"{home.config}: unknown fields: {', '.join(unknown)}")
    return config


def _unknown(found: object, known: object, prefix: str) -> list[str]:
    if not (isinstance(found, dict) and isinstance(known, dict)):
        return []
    names = [f"{prefix}{key}" for key in found if key not in known]
    for key in found.keys() & known.keys():
        names += _unknown(found[key], known[key], f"{prefix}{key}.")
    return names
