"""``client.yaml``, the plant's settings, as frozen records, read strictly and written atomically.

Settings that affect privacy (``privacy``) and results (``acceptance``) are separate from those that
only locate data (``data``). The plant's server and its data sheet are not settings; each has its
own file. An unknown field is an error, because a misspelt cap must not silently become the default.
Contradictory settings are an error, too, because neither of them may decide by itself what a
release protects.
"""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import msgspec
import yaml

from wg_core import atomic, number_parsers, text_grammars, yaml_settings
from wg_core.errors import ConfigError, DecodeError
from wg_core.ledger import signed_note as notes
from wg_core.privacy.schema import DEFAULT_DELTA, STATISTICS_KINDS, StatisticsKind
from wg_core.site import pinned_server
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer
from wg_core.site.reading_config import ReadingConfig
from wg_core.wire import protocol, signing
from wg_core.wire.data_sheet import DataSheet

CONFIG_BYTES_LIMIT = 1 << 20
LABELS_LIMIT = 1000
ANY_PURPOSE = "*"
UNLABELLED_FOLDER = "_unlabelled"  # Folder of unlabelled records
RECORD_UNIT = "record"  # Privacy unit of a plant without a unit column
_EXPONENT_LIMIT = 300
_NAME_GRAMMAR = text_grammars.PrintableText(text_grammars.NAME_CHARACTERS_LIMIT)
_YAML_NUMBER_PATTERN = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
"""Numbers that YAML and the decimal system read alike: no 010 (eight), no 1_0, no 1:30."""
_DECIMAL_FIELDS = ("cap_epsilon", "cap_delta", "max_request_epsilon")

ApprovalMode = Literal["policy", "human"]
HUMAN_APPROVAL = "human"  # A person decides each request that the policy allows


def check_labels(labels: Sequence[str]) -> None:
    """Check the label domain that a plant declares.

    Raises:
        ConfigError: The list is empty or too long, or a label is repeated or not printable.
    """
    if not 1 <= len(labels) <= LABELS_LIMIT:
        raise ConfigError(f"data.labels: {len(labels)} labels, expected 1 to {LABELS_LIMIT}")
    if len(set(labels)) != len(labels):
        raise ConfigError("data.labels: a label stands there twice")
    composed_labels = {unicodedata.normalize("NFC", label) for label in labels}
    if len(composed_labels) != len(labels):
        raise ConfigError(
            "data.labels: two labels look the same and differ in their bytes (Unicode"
            " composition); keep one"
        )
    if UNLABELLED_FOLDER in labels:
        raise ConfigError(
            f"data.labels: {UNLABELLED_FOLDER!r} is the folder of records without a label, and"
            " cannot be a label"
        )
    for label in labels:
        check_name("data.labels", label)


def check_name(setting: str, name: str) -> None:
    """Check a name against the ledger's grammar; ``ConfigError`` names the setting to change."""
    if not _NAME_GRAMMAR.is_match(name):
        raise ConfigError(
            f"{setting}: {name[:40]!r}: expected 1 to {text_grammars.NAME_CHARACTERS_LIMIT}"
            " printable characters, no full-width space, and no space at either end"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DataConfig:
    """Settings of the plant's data set.

    Attributes:
        name: Public name on the ledger; carries the budget.
        path: Folder, ``.npz`` file, or table of texts.
        labels: Public label domain, in the order of class rows. It is declared, not counted: a
            class without a record may be listed, which means that it can occur.
        encoder: SHA-256 of the encoder that the owner confirmed, hex; see ``encoder_pin``.
        unit_column: Column (``records.csv``, a log) or array (``.npz``) that names each record's
            privacy unit; for logs also ``file`` or ``interval``. Null: each record is a unit.
        reading: Rules for reading files.
        good: Labels that mean "no defect", for the report; null: those whose names say so.
        acceptance: Acceptance set: its folder or file, or the share of the data set's privacy units
            that ``freeze`` reserves for it; null: no acceptance set.
    """

    name: str
    path: str
    labels: tuple[str, ...]
    encoder: str
    unit_column: str | None = None
    reading: ReadingConfig = field(default_factory=ReadingConfig)
    good: tuple[str, ...] | None = None
    acceptance: str | float | None = None

    @property
    def unit_rule(self) -> Literal["record", "weight"]:
        """``record``: each record is a unit. ``weight``: a unit counts as its records' average."""
        return "record" if self.unit_column is None else "weight"

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.good or ()) - set(self.labels)):
            raise ConfigError(f"data.good: {unknown}, expected some of data.labels")
        check_labels(self.labels)
        check_name("data.name", self.name)
        if self.unit_column:
            check_name("data.unit_column", self.unit_column)
        if isinstance(self.acceptance, float):
            yaml_settings.check_range("data.acceptance", self.acceptance, 0.01, 0.9)
        if self.unit_column in ("", RECORD_UNIT):
            raise ConfigError(
                f"data.unit_column: {self.unit_column!r}: the ledger calls a single record"
                f" {RECORD_UNIT!r}; give the column another name, or write null if each record is a"
                " unit"
            )
        if not protocol.SHA256_PATTERN.fullmatch(self.encoder):
            raise ConfigError(f"data.encoder: {self.encoder!r}, expected 64 lower-case hex digits")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    """Limits on what may be requested from this plant, and the total budget.

    Attributes:
        cap_epsilon: Cap on the composed epsilon of the data set, decimal string.
        cap_delta: Delta at which the cap holds, and largest delta of a request, decimal string.
        max_request_epsilon: Largest epsilon of one request, decimal string.
        purposes: Allowed purposes, word for word; ``*`` allows any.
        message_types: Types of messages that are answered.
        statistics: Kinds of statistics that may be released: ``classes`` (of the encoder's
            features, by label), ``machine`` (mean machine features, without labels).
        approve: ``policy``: the policy alone decides. ``human``: a person must also approve each
            request (``wg-client requests``).
        answer_slot_seconds: Answers leave at multiples of this many seconds after the request, so
            that their timing reveals nothing; ``freeze`` refuses a slot that is too short.
    """

    cap_epsilon: str = "8"
    cap_delta: str = DEFAULT_DELTA
    max_request_epsilon: str = "4"
    purposes: tuple[str, ...] = (ANY_PURPOSE,)
    message_types: tuple[str, ...] = (protocol.QUERY_MESSAGE_TYPE, protocol.DELIVERY_MESSAGE_TYPE)
    statistics: tuple[StatisticsKind, ...] = STATISTICS_KINDS
    approve: ApprovalMode = "policy"
    answer_slot_seconds: float = 2.0

    def __post_init__(self) -> None:
        for name in ("cap_epsilon", "max_request_epsilon"):
            positive_decimal(getattr(self, name), f"privacy.{name}")
        if positive_decimal(self.cap_delta, "privacy.cap_delta") >= 1:
            raise ConfigError(f"privacy.cap_delta: {self.cap_delta}, expected below 1")
        exact = number_parsers.parse_exact_decimal
        if exact(self.max_request_epsilon) > exact(self.cap_epsilon):
            raise ConfigError(
                f"privacy.max_request_epsilon: {self.max_request_epsilon} is more than"
                f" privacy.cap_epsilon, {self.cap_epsilon}: the budget could never pay such a"
                " request; lower the one or raise the other"
            )
        if unknown := set(self.message_types) - protocol.MESSAGE_TYPES:
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
class WitnessConfig:
    """Witness in addition to the server (c2sp.org/tlog-witness).

    Attributes:
        name: Key name of its cosignatures.
        key: Public key: Ed25519, ML-DSA-44, or both concatenated in hex, or a verifier key
            (``NAME+KEYID+BASE64``).
        url: Submission prefix, ``https://…``, to which ``/add-checkpoint`` is appended.
        ca: PEM file of the CA of its certificate; empty: a public CA.
    """

    name: str
    key: str
    url: str
    ca: str = ""

    def __post_init__(self) -> None:
        _ = self.public_key
        if not self.url.startswith("https://") or any(c in self.url for c in " ?#\n"):
            raise ConfigError(f"witnesses: {self.name}: url {self.url!r}, expected https://…")

    @property
    def public_key(self) -> bytes:
        """Raw public key of the witness.

        Raises:
            ConfigError: The key is malformed, or is a verifier key with another key name.
        """
        try:
            notes.check_key_name(self.name)
            if "+" not in self.key:
                return signing.public_from_hex(self.key).raw
            name, key = notes.decode_verifier_key(self.key, notes.COSIGNER_ROLE)
            if name != self.name:
                raise DecodeError(f"of {name!r}")
            return key.raw
        except DecodeError as error:
            raise ConfigError(f"witnesses: {self.name}: key: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """Settings of a plant: the contents of ``client.yaml``.

    ``witnesses`` are in addition to the server, and ``witness_quorum`` is the number of witnesses,
    including the server, that must cosign before a release is sent; null: all of them.
    ``language`` is the language of reports and commands; null: that of the environment.
    """

    site: str
    data: DataConfig
    privacy: PrivacyConfig = field(default_factory=PrivacyConfig)
    acceptance: AcceptanceConfig = field(default_factory=AcceptanceConfig)
    witnesses: tuple[WitnessConfig, ...] = ()
    witness_quorum: int | None = None
    language: Literal["en", "ja"] | None = None

    def __post_init__(self) -> None:
        protocol.check_site_name(self.site)
        self.data.reading.check_unit_column(self.data.unit_column)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig(ClientSettings):
    """Configuration of a plant: its settings, its server, and its data sheet.

    ``pin`` is the pinned server, or None if the plant works alone; ``data_sheet`` may be None.
    """

    pin: PinnedServer | None = None
    data_sheet: DataSheet | None = None

    @property
    def server(self) -> PinnedServer:
        """Server that the plant is enrolled with; raises ``ConfigError`` if there is none."""
        if self.pin is None:
            raise ConfigError(
                f"{self.site}: this home works alone, and that needs a server: get a join token for"
                f" {self.site!r} from an operator, and run 'wg-client join --home HOME --join-file"
                " TOKEN_FILE'"
            )
        return self.pin

    @property
    def witnesses_needed(self) -> int:
        """Number of witnesses that must cosign before a release is sent."""
        return 1 + len(self.witnesses) if self.witness_quorum is None else self.witness_quorum

    def __post_init__(self) -> None:
        ClientSettings.__post_init__(self)
        server_names = [] if self.pin is None else [self.pin.witness_name]
        names = [*server_names, *(cosigner.name for cosigner in self.witnesses)]
        if len(set(names)) != len(names) or self._has_shared_key():
            raise ConfigError("witnesses: a name or key stands there twice, or is the server's")
        if self.pin is not None and not 1 <= self.witnesses_needed <= len(names):
            raise ConfigError(
                f"witness_quorum: {self.witness_quorum}, expected 1 to {len(names)}: the server and"
                f" {len(self.witnesses)} witnesses"
            )

    def _has_shared_key(self) -> bool:
        """Return whether two witnesses share a key, so that one signature would count twice."""
        if not self.witnesses:
            return False
        server = signing.public_from_hex(self.server.witness_key, input_name="server.witness_key")
        witness_keys = (signing.public_from_bytes(x.public_key) for x in self.witnesses)
        return signing.has_shared_part([server, *witness_keys])


def default_request_epsilon(cap_epsilon: str) -> str:
    """Return the default limit on the epsilon of one request, never more than the cap.

    Raises:
        ConfigError: The cap is not a positive decimal number.
    """
    default = PrivacyConfig().max_request_epsilon
    cap = positive_decimal(cap_epsilon, "privacy.cap_epsilon")
    return cap_epsilon if cap < positive_decimal(default, "default") else default


def positive_decimal(text: str, input_name: str) -> Decimal:
    """Read a text as a positive, finite decimal; raise ``ConfigError`` otherwise."""
    try:
        value = number_parsers.parse_exact_decimal(text, input_name=input_name)
    except DecodeError as error:
        raise ConfigError(str(error)) from error
    if value <= 0:
        raise ConfigError(f"{input_name}: {text}, expected above 0")
    if abs(value.adjusted()) > _EXPONENT_LIMIT:
        raise ConfigError(
            f"{input_name}: {text}, expected 1e-{_EXPONENT_LIMIT} to 1e{_EXPONENT_LIMIT}"
        )
    return value


def read_data_sheet(path: Path) -> DataSheet:
    """Read a data sheet that a person wrote.

    Raises:
        ConfigError: The file cannot be read, or a field is unknown, missing or out of range.
    """
    data = atomic.read_bytes(path, limit=CONFIG_BYTES_LIMIT)
    sheet = yaml_settings.read_yaml(data, input_name=str(path))
    kinds = get_type_hints(DataSheet)
    for name, figures in sheet.items() if isinstance(sheet, dict) else ():
        kind = next(filter(dataclasses.is_dataclass, get_args(kinds.get(name))), None)
        if kind is None or not isinstance(figures, dict):
            continue
        known_fields = [field.name for field in dataclasses.fields(kind)]
        if unknown_keys := [str(key) for key in figures if key not in known_fields]:
            raise ConfigError(
                f"{path}: {name}: unknown field {unknown_keys[0]}; known: {', '.join(known_fields)}"
            )
    return yaml_settings.parse_yaml(data, DataSheet, str(path))


def save(home: ClientHome, config: ClientConfig) -> None:
    """Write a plant's configuration files, ``client.yaml`` last, each atomically."""
    if config.pin is not None:
        pinned_server.save(home, config.pin)
    if config.data_sheet is None:
        atomic.remove_file(home.data_sheet)
    else:
        _write_yaml(home.data_sheet, config.data_sheet)
    fields = {part.name: getattr(config, part.name) for part in dataclasses.fields(ClientSettings)}
    _write_yaml(home.config, ClientSettings(**fields))


def _write_yaml(path: Path, record: object) -> None:
    text = yaml.safe_dump(msgspec.to_builtins(record), sort_keys=False, allow_unicode=True)
    atomic.write_private_bytes(path, text.encode("utf-8"))


def load(home: ClientHome) -> ClientConfig:
    """Read ``client.yaml``, the pinned server and the data sheet.

    Raises:
        ConfigError: A file is missing, or the named field is unknown, missing or out of range.
    """
    home.check_initialised()
    data = atomic.read_bytes(home.config, limit=CONFIG_BYTES_LIMIT)
    document, words = yaml_settings.read_yaml_and_texts(data, input_name=str(home.config))
    document = _with_exact_numbers(home.config, document, words)
    file_settings = yaml_settings.convert_document(document, ClientSettings, str(home.config))
    works_alone = not home.pinned_server.exists() and not home.certificate.exists()
    pin = None if works_alone else pinned_server.load(home)
    sheet = read_data_sheet(home.data_sheet) if home.data_sheet.exists() else None
    parts = {x.name: getattr(file_settings, x.name) for x in dataclasses.fields(file_settings)}
    try:
        return ClientConfig(**parts, pin=pin, data_sheet=sheet)
    except (ConfigError, DecodeError) as error:
        raise ConfigError(f"{home.config}: {error}") from error


def _with_exact_numbers(path: Path, document: object, scalar_texts: object) -> object:
    """Replace each budget that is a bare number in the file by its text, which is not rounded.

    ``document`` is the file as parsed by YAML; ``scalar_texts`` has every scalar as written.
    """
    privacy = document.get("privacy") if isinstance(document, dict) else None
    section = scalar_texts.get("privacy") if isinstance(scalar_texts, dict) else None
    if not (isinstance(document, dict) and isinstance(privacy, dict) and isinstance(section, dict)):
        return document
    exact = {}
    for name in _DECIMAL_FIELDS:
        value, text = privacy.get(name), section.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        if not isinstance(text, str) or not _YAML_NUMBER_PATTERN.fullmatch(text):
            raise ConfigError(
                f"{path}: privacy.{name}: {text} is {value!r} to YAML; write the decimal number"
                " that you mean in quotes"
            )
        exact[name] = text
    return {**document, "privacy": {**privacy, **exact}}
