"""``wg-client init``: make the ledger, enrol, write ``client.yaml``; in a repeatable order.

The data set is read first, so that a wrong path does not use up the join token; ``client.yaml``
is written last, so that a home that has one is complete.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from wg_client import config as configuration
from wg_client import encoder_pin
from wg_client.config import (
    AcceptanceConfig,
    ClientConfig,
    DataConfig,
    PrivacyConfig,
    ServerConfig,
)
from wg_client.dataset import SiteData, commitment, load_dataset, record_digests
from wg_client.encoder_pin import Confirm
from wg_client.enrolment import Enrolment, enrol
from wg_client.home import ClientHome
from wg_client.plant import check_modality
from wg_client.release import dataset_record, open_ledger
from wg_common import canonical, protocol
from wg_common.errors import ConfigError
from wg_common.nets.encoder import load_encoder
from wg_common.protocol import EnrolmentReply

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChoice:
    """What the plant says about its data set; see ``config.DataConfig``."""

    path: Path
    labels: tuple[str, ...] | None = None
    unit_column: str | None = None
    name: str | None = None


def initialise(
    home: ClientHome,
    token: str,
    choice: DataChoice,
    privacy: PrivacyConfig,
    *,
    encoder: str | None = None,
    confirm: Confirm | None = None,
) -> tuple[ClientConfig, SiteData]:
    """Make a plant's home.

    Args:
        home: Where; must not hold a ``client.yaml``.
        token: The join token.
        choice: The data set.
        privacy: Caps and policy.
        encoder: Hash of the encoder that the owner wants, or 16 or more of its first hex digits;
            None: that of the token.
        confirm: Asks the owner, before anything of the encoder is kept; None: nobody is asked.

    Raises:
        ConfigError: The home is initialised already, or an option is wrong.
        UsageError: ``encoder`` is no hash.
        DataError: The data set cannot be used.
        DecodeError, PeerError, VerificationError: Enrolment failed; see ``enrolment``.
    """
    if home.config.exists():
        raise ConfigError(f"{home.config}: this home is initialised; --replace enrols it again")
    configuration.check_unit(choice.unit_column, privacy.unit_rule)
    data = load_dataset(choice.path, choice.labels, unit_column=choice.unit_column)
    # Refuse what client.yaml would refuse, before the one-time token is spent.
    settings = DataConfig(
        name=choice.name or "data",
        path=str(choice.path.resolve()),
        labels=data.label_names,
        unit_column=choice.unit_column,
    )
    encoder_pin.check_named(encoder, protocol.decode_token(token.strip()).encoder)

    def look(package: bytes) -> None:
        check_modality(load_encoder(package).modality, data, str(choice.path))
        if confirm is not None:
            confirm(encoder_pin.about(package))

    enrolment = enrol(home, token, confirm=look)
    config = _config(enrolment, settings, privacy, choice.name)
    _register(home, config, data)
    configuration.save(home, config)
    return config, data


def pinned_server(reply: EnrolmentReply) -> ServerConfig:
    """What ``client.yaml`` holds of the server that answered."""
    return ServerConfig(
        fleet_url=reply.fleet_url,
        name=reply.server_name,
        signing_key=reply.server_key,
        witness_name=reply.witness_name,
        witness_key=reply.witness_key,
    )


def _config(
    enrolment: Enrolment, data: DataConfig, privacy: PrivacyConfig, name: str | None
) -> ClientConfig:
    return ClientConfig(
        site=enrolment.site,
        server=pinned_server(enrolment.reply),
        data=DataConfig(
            name=name or enrolment.site,
            path=data.path,
            labels=data.labels,
            unit_column=data.unit_column,
            encoder=canonical.sha256_hex(enrolment.encoder),
        ),
        privacy=privacy,
        acceptance=AcceptanceConfig(),
    )


def _register(home: ClientHome, config: ClientConfig, data: SiteData) -> None:
    with open_ledger(home) as ledger:
        digest = commitment(home.load_secret(), record_digests(data))
        ledger.register_dataset(dataset_record(config, digest))
