"""``wg-client init``: make the ledger, enrol, write ``client.yaml`` and freeze, resumably.

The data set is read first, so that a wrong path or a damaged file does not use up the join token;
``client.yaml`` is written after enrolment, and the data set is frozen last. Without a token no
server is contacted: the home uses the built-in encoder and works alone, until
``reenrolment.join_server``.

After an interruption the same command continues, until there is a snapshot. Without
``client.yaml`` the site enrols again with its existing keys and ledger, which costs nothing and
which the server answers until the token expires (``enrolment``). With ``client.yaml`` only the
freeze is left, which needs neither server nor token, and reuses the records already encoded.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

from wg_client.data import plant_data as plants
from wg_client.data import process_log
from wg_client.data.dataset import DEFAULT_READING_CONFIG, SurveyOptions, check_modality
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.record_inspection import Inspection, inspect_records
from wg_client.fleet import encoder_trial
from wg_client.fleet.encoder_trial import EncoderConfirmation
from wg_client.fleet.enrolment import enrol, open_or_create_ledger
from wg_client.release.home_freeze import freeze_data, freeze_refusal
from wg_common.modalities.registry import find_modality
from wg_common.modalities.windows import Windows
from wg_common.nets.encoder import package as encoder_package
from wg_core import atomic
from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, StorageError, UsageError, reraise_os_errors
from wg_core.ledger import shared_budget
from wg_core.release.answer_time import check_answer_slot
from wg_core.release.freeze import FreezeResult, ProgressCallback
from wg_core.site import budget_sharing, encoder_pin, identity, locks
from wg_core.site import config as configuration
from wg_core.site.acceptance import AcceptanceConfig
from wg_core.site.config import ClientConfig, DataConfig, PrivacyConfig
from wg_core.site.home import ClientHome
from wg_core.site.pinned_server import PinnedServer
from wg_core.site.reading_config import ReadingConfig
from wg_core.wire import canonical, protocol
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.protocol import EnrolmentReply, JoinToken


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetChoice:
    """Choice of a data set by the plant; see ``config.DataConfig``.

    Attributes:
        path: The data set.
        labels: Declared label domain; None: the labels found in the data set.
        unit_column: Column or array that names the privacy unit; None: each record is a unit.
        dataset_name: Public name of the data set; None: that of the site.
        set_aside: Exclude records that cannot be used.
        allow_empty: Accept a data set without records; requires declared labels.
        budget_home: Home of which the budget and ledger are shared; None: the new home's own.
        reading: Settings for reading files.
        data_sheet: Public data sheet of the machine that the records come from; None: no data
            sheet.
        acceptance_share_or_folder: Share of the records to reserve as acceptance set, or its
            folder; None: no set.
    """

    path: Path
    labels: tuple[str, ...] | None = None
    unit_column: str | None = None
    dataset_name: str | None = None
    set_aside: bool = False
    allow_empty: bool = False
    budget_home: Path | None = None
    reading: ReadingConfig = DEFAULT_READING_CONFIG
    data_sheet: DataSheet | None = None
    acceptance_share_or_folder: str | float | None = None


def check_not_initialised(home: ClientHome) -> None:
    """Raise ``ConfigError`` if the home is initialised and has a snapshot."""
    if home.config.exists() and snapshots.find_current(home) is not None:
        raise ConfigError(
            f"{home.config}: this home is initialised; wg-client freeze takes new records, and"
            " --replace enrols it again"
        )


def inspect_data(choice: DataSetChoice, progress: ProgressCallback | None = None) -> Inspection:
    """Decode and hash every record of a data set, before enrolment.

    Raises:
        ConfigError: Windows overlap although no unit is declared, or a label is not allowed.
        DataError: The data set as a whole cannot be read.
    """
    choice.reading.check_unit_column(choice.unit_column)
    data_survey = survey_dataset(
        choice.path,
        SurveyOptions(labels=choice.labels, unit_column=choice.unit_column, reading=choice.reading),
    )
    configuration.check_labels(data_survey.data.label_names)
    _check_sheet_modality(choice.data_sheet, data_survey.data.modality)
    process_log.check_process_log(choice.data_sheet, choice.reading)
    return inspect_records(data_survey, has_units=choice.unit_column is not None, progress=progress)


def _check_sheet_modality(sheet: DataSheet | None, modality: str) -> None:
    """Refuse a data sheet if the records are not sensor windows."""
    if sheet is not None and modality != Windows.name:
        raise ConfigError(
            f"--data-sheet: it is of a machine ({sheet.kind}), but the records are {modality};"
            " leave it out"
        )


def check_token(token: str, encoder_hash: str | None) -> JoinToken:
    """Decode a join token, and check that it names the encoder that the owner wants.

    Args:
        encoder_hash: Hash of the encoder that the owner wants, or its beginning; None: the token's.

    Raises:
        DecodeError: The text is not a join token.
        UsageError: ``encoder_hash`` is not a hash.
        VerificationError: The token names another encoder.
    """
    subject = protocol.decode_join_token(token.strip())
    encoder_pin.check_owner_hash(encoder_hash, subject.encoder)
    return subject


def initialise(
    home: ClientHome,
    token: str | None,
    choice: DataSetChoice,
    privacy: PrivacyConfig,
    *,
    encoder_hash: str | None = None,
    confirm_encoder: EncoderConfirmation | None = None,
    inspection: Inspection | None = None,
    progress: ProgressCallback | None = None,
) -> tuple[ClientConfig, FreezeResult]:
    """Make a plant's home, or continue an earlier call that was interrupted.

    Args:
        home: New home; must not hold a snapshot.
        token: Join token; None: the home works alone.
        encoder_hash: Hash of the encoder that the owner wants, or its beginning; None: the token's.
        confirm_encoder: Asks the owner before the encoder is stored; None: nobody is asked.
        inspection: Result of ``inspect_data``; None: call it now.
        progress: Called with stage, records done and total, while they are read and encoded.

    Returns:
        The configuration that was written to ``client.yaml``, and the result of the freeze.

    Raises:
        ConfigError: The home is initialised, or an option is wrong or differs from that of the
            interrupted call.
        UsageError: ``encoder_hash`` is not a hash.
        DataError: The data set cannot be used.
        DecodeError, PeerError, VerificationError: Enrolment failed; see ``enrolment``.
    """
    check_not_initialised(home)
    inspection = inspection or inspect_data(choice, progress)
    skip, empty = choice.set_aside, choice.allow_empty and choice.labels is not None
    if refusal := freeze_refusal(inspection, set_aside=skip, allow_empty=empty, source=choice.path):
        raise refusal
    load = plants.caching_encoder_loader()
    alone = partial(_build_serverless_site, home, choice, inspection)
    subject = alone() if token is None else check_token(token, encoder_hash)
    # Refuse what client.yaml would refuse, before the one-time token is spent.
    data = _data_config(choice, subject, inspection.data.label_names)
    if home.config.exists():
        config = _read_interrupted_config(home, subject, choice, data, privacy)
    else:
        check_disk_space(home, len(inspection.data))
        margin = find_modality(inspection.data.modality).default_standard_errors
        draft = _draft_config(subject.site, data, privacy, choice.data_sheet, margin)
        if isinstance(subject, _ServerlessSite):
            dimension = load(subject.encoder_package).local_dimension
            check_answer_slot(draft, len(inspection.data), dimension)
            config = _make_serverless_home(home, subject, draft)
        else:
            shares_ledger = join_shared_budget(home, choice, privacy, subject.site)
            see = partial(_check_encoder, inspection, choice.path, confirm_encoder)
            config = _enrol_and_configure(
                home, token or "", draft, see, shares_ledger=shares_ledger
            )
    return config, freeze_data(
        home, inspection, load_encoder=load, set_aside=skip, allow_empty=empty, on_progress=progress
    )


@dataclass(frozen=True, slots=True)
class _ServerlessSite:
    """Site without a server: its name, and id (hex) and bytes of the built-in encoder package."""

    site: str
    encoder: str
    encoder_package: bytes


def _build_serverless_site(
    home: ClientHome, choice: DataSetChoice, inspection: Inspection
) -> _ServerlessSite:
    from wg_common.nets.encoder.builtin_encoder import unfitted_package  # torch: seconds to import

    if choice.budget_home is not None:
        raise UsageError("--budget-of: needs a join token of the other server")
    words = re.sub("[^a-z0-9]+", "-", home.root.resolve().name.lower()).strip("-")
    site = words[:63].rstrip("-") or "plant"
    package = unfitted_package(inspection.data.modality)
    return _ServerlessSite(site, canonical.sha256_hex(package), package)


def _data_config(
    choice: DataSetChoice, token_or_site: JoinToken | _ServerlessSite, labels: tuple[str, ...]
) -> DataConfig:
    """Return the section ``data`` of ``client.yaml``."""
    return DataConfig(
        name=choice.dataset_name or token_or_site.site,
        path=str(choice.path.resolve()),
        labels=labels,
        encoder=token_or_site.encoder,
        unit_column=choice.unit_column,
        acceptance=choice.acceptance_share_or_folder,
        reading=choice.reading,
    )


def _draft_config(
    site: str,
    data: DataConfig,
    privacy: PrivacyConfig,
    sheet: DataSheet | None,
    standard_errors: float,
) -> ClientConfig:
    """Return the configuration of a home before it has a server."""
    return ClientConfig(
        site=site,
        pin=None,
        data=data,
        privacy=privacy,
        data_sheet=sheet,
        acceptance=AcceptanceConfig(standard_errors=standard_errors),
    )


def _make_serverless_home(
    home: ClientHome, site: _ServerlessSite, config: ClientConfig
) -> ClientConfig:
    """Make keys and ledger of a home without a server, and write ``client.yaml``."""
    with locks.lock_node(home):
        identity.create_identity(home, site.site)
        open_or_create_ledger(home, None, site.site, None).close()
        atomic.write_bytes(home.encoder, site.encoder_package)
        configuration.save(home, config)
    return config


def _enrol_and_configure(
    home: ClientHome,
    token: str,
    draft_config: ClientConfig,
    check_encoder: Callable[[bytes], None],
    *,
    shares_ledger: bool,
) -> ClientConfig:
    """Enrol a home that has no ``client.yaml``, and write it; errors as for ``initialise``."""
    with locks.lock_node(home):
        enrolment = enrol(
            home,
            token,
            ledger_path=home.ledger if shares_ledger else None,
            confirm_encoder=check_encoder,
        )
        config = replace(
            draft_config, site=enrolment.site_name, pin=pinned_server_from_reply(enrolment.reply)
        )
        configuration.save(home, config)
    return config


def _read_interrupted_config(
    home: ClientHome,
    token_or_site: JoinToken | _ServerlessSite,
    choice: DataSetChoice,
    data: DataConfig,
    privacy: PrivacyConfig,
) -> ClientConfig:
    """Return the configuration that an interrupted call wrote, if it matches this call.

    Raises:
        ConfigError: Site, encoder or options differ.
    """
    config = configuration.load(home)
    if (config.site, config.data.encoder) != (token_or_site.site, token_or_site.encoder):
        raise ConfigError(
            f"{home.config}: of site {config.site!r}; this call is for {token_or_site.site!r}, or"
            " for another encoder; --replace enrols this home again"
        )
    wrong = [
        f"{part}.{setting.name}"
        for part, old, new in (("data", config.data, data), ("privacy", config.privacy, privacy))
        for setting in fields(old)
        if getattr(old, setting.name) != getattr(new, setting.name)
    ]
    wrong += ["data_sheet"] if config.data_sheet != choice.data_sheet else []
    if wrong:
        raise ConfigError(
            f"{home.config}: the call that was cut off wrote another {', '.join(wrong)}: 'wg-client"
            f" freeze --home {home.root}' goes on with what is there; to change it, delete this"
            " file and run 'init' again"
        )
    return config


def check_disk_space(home: ClientHome, record_count: int) -> None:
    """Refuse a disk that is certainly too full for so many records, before the token is spent.

    Raises:
        StorageError: The disk is too full, or the folder cannot be made.
    """
    record_bytes = 16 << 10
    fixed_bytes = 64 << 20
    needs = fixed_bytes + record_count * record_bytes
    home.create_private_folder()
    with reraise_os_errors(StorageError, f"{home.root}: cannot be used"):
        free = shutil.disk_usage(home.root).free
    if free < needs:
        raise StorageError(
            f"{home.root}: {free >> 20} MiB free on this disk, about {needs >> 20} MiB are needed;"
            " nothing was sent, and the join token is still good"
        )


def _check_encoder(
    inspection: Inspection, path: Path, confirm_encoder: EncoderConfirmation | None, package: bytes
) -> None:
    """Check a delivered encoder against the data set, and ask the owner to confirm the encoder."""
    records = encoder_trial.try_and_load_encoder(package).modality
    if len(inspection.data):
        check_modality(records, inspection.data.modality, path)
    if confirm_encoder is not None:
        confirm_encoder(encoder_package.read_description(package))


def join_shared_budget(
    home: ClientHome, choice: DataSetChoice, privacy: PrivacyConfig, site: str
) -> bool:
    """Let a new home share the budget of ``choice.budget_home``, if any; return whether it does.

    Raises:
        ConfigError: The budget cannot be shared; see ``budget_sharing``.
    """
    if choice.budget_home is None:
        if shared_budget.read_shared_budget(home.root) is not None:
            raise ConfigError(f"{home.root}: draws on another home's budget; name it (--budget-of)")
        return False
    budget_config = configuration.load(ClientHome(choice.budget_home))
    cap = (privacy.cap_epsilon, privacy.cap_delta)
    budget_sharing.check_new_dataset(
        budget_config, site=site, dataset_name=choice.dataset_name or site, cap=cap
    )
    budget_sharing.join_shared_budget(home, choice.budget_home)
    return True


def pinned_server_from_reply(reply: EnrolmentReply) -> PinnedServer:
    """Return the server to pin, as an enrolment reply states it: address, name and keys."""
    return PinnedServer(
        fleet_url=reply.fleet_url,
        name=reply.server_name,
        signing_key=reply.server_key,
        witness_name=reply.witness_name,
        witness_key=reply.witness_key,
    )
