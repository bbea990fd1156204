"""Check that releases can be made from a snapshot under the current settings."""

from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, NoMachineStatistics
from wg_core.privacy.schema import (
    CLASS_STATISTICS,
    MACHINE_STATISTICS,
    StatisticsKind,
    StatisticsSchema,
    default_schema,
)
from wg_core.site import config as configuration
from wg_core.site import encoder_pin
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import Snapshot
from wg_core.wire import canonical


def ready_snapshot(home: ClientHome, statistics: StatisticsKind = CLASS_STATISTICS) -> Snapshot:
    """Return the snapshot in use, if class or machine statistics can be released from it.

    Raises:
        ConfigError: No snapshot exists, or settings changed since; the message says what to do.
        NoMachineStatistics: The same conditions as for ``check_machine_unchanged``.
    """
    config = configuration.load(home)
    snapshot = snapshots.load_current(home)
    package = encoder_pin.load(home, config)
    check_snapshot_settings(config, snapshot, encoder_sha256=canonical.sha256_hex(package))
    if statistics == MACHINE_STATISTICS:
        check_machine_unchanged(config, snapshot)
    return snapshot


def class_statistics_schema(
    config: ClientConfig, *, encoder_sha256: str, dimension: int, clip_radius: float
) -> StatisticsSchema:
    """Return the schema of class statistics under a plant's current settings."""
    return default_schema(
        encoder=encoder_sha256,
        dimension=dimension,
        labels=config.data.labels,
        clip_radius=clip_radius,
        unit_rule=config.data.unit_rule,
    )


def check_snapshot_settings(
    config: ClientConfig, snapshot: Snapshot, *, encoder_sha256: str
) -> None:
    """Check that a snapshot was made under the current settings.

    Raises:
        ConfigError: A setting changed; the message names it.
    """
    manifest = snapshot.manifest
    schema = manifest.schema
    expected = class_statistics_schema(
        config, encoder_sha256=encoder_sha256, dimension=schema.dimension, clip_radius=schema.radius
    )
    for subject, frozen, today in (
        ("data.name", manifest.dataset, config.data.name),
        ("data.labels", schema.labels, config.data.labels),
        ("data.unit_column", manifest.unit_column, config.data.unit_column or ""),
        ("the encoder", schema.encoder, encoder_sha256),
        ("the schema of releases", schema, expected),
    ):
        if frozen != today:
            raise ConfigError(
                f"{snapshot.folder}: snapshot {manifest.number} was made before {subject} changed;"
                f" run 'wg-client freeze --home {snapshot.folder.parent.parent}'"
            )


def check_machine_unchanged(config: ClientConfig, snapshot: Snapshot) -> None:
    """Check that a snapshot's machine is the one that ``data-sheet.yaml`` now states.

    Raises:
        NoMachineStatistics: No machine is stated, the snapshot has no statistics of one, or the
            data sheet changed since.
    """
    home = ClientHome(snapshot.folder.parent.parent)
    if config.data_sheet is None:
        raise NoMachineStatistics(
            f"machine statistics: {home.data_sheet} is missing, so no machine is stated: write the"
            f" machine's data sheet there, and run 'wg-client freeze --home {home.root}'"
        )
    if snapshot.machine_statistics.data_sheet != config.data_sheet:
        raise NoMachineStatistics(
            f"{home.data_sheet}: changed since snapshot {snapshot.manifest.number} was made, whose"
            " machine statistics depend on what it states; run 'wg-client freeze --home"
            f" {home.root}'"
        )
