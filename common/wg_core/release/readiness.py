"""Readiness of a snapshot: can releases be made from it under today's settings?"""

from wg_core import snapshot as snapshots
from wg_core.errors import ConfigError, MachineUnstated
from wg_core.privacy.schema import (
    CLASSES,
    MACHINE,
    Statistics,
    StatisticsSchema,
    default_schema,
)
from wg_core.site import config as configuration
from wg_core.site import encoder_pin
from wg_core.site.config import ClientConfig
from wg_core.site.home import ClientHome
from wg_core.snapshot import Snapshot
from wg_core.wire import canonical


def ready_snapshot(home: ClientHome, statistics: Statistics = CLASSES) -> Snapshot:
    """The snapshot in use, if releases of these can be made from it under today's settings.

    Raises:
        ConfigError: There is none, or it was made under other settings; says what to do.
        MachineUnstated: As of ``check_machine``.
    """
    config = configuration.load(home)
    snapshot = snapshots.current(home)
    package = encoder_pin.load(home, config)
    check_snapshot(config, snapshot, encoder=canonical.sha256_hex(package))
    if statistics == MACHINE:
        check_machine(config, snapshot)
    return snapshot


def schema_for(
    config: ClientConfig, *, encoder: str, dimension: int, clip_radius: float
) -> StatisticsSchema:
    """Layout of this plant's releases: its public label domain, the encoder, fixed shares."""
    return default_schema(
        encoder=encoder,
        dimension=dimension,
        labels=config.data.labels,
        clip_radius=clip_radius,
        unit_rule=config.data.unit_rule,
    )


def check_snapshot(config: ClientConfig, snapshot: Snapshot, *, encoder: str) -> None:
    """Refuse a snapshot that was made under other settings than today's.

    Raises:
        ConfigError: It was; what differs is named.
    """
    manifest = snapshot.manifest
    schema = manifest.schema
    expected = schema_for(
        config, encoder=encoder, dimension=schema.dimension, clip_radius=schema.radius
    )
    for subject, frozen, today in (
        ("data.name", manifest.dataset, config.data.name),
        ("data.labels", schema.labels, config.data.labels),
        ("data.unit_column", manifest.unit_column, config.data.unit_column or ""),
        ("the encoder", schema.encoder, encoder),
        ("the schema of releases", schema, expected),
    ):
        if frozen != today:
            raise ConfigError(
                f"{snapshot.folder}: snapshot {manifest.number} was made before {subject} changed;"
                f" run 'wg-client freeze --home {snapshot.folder.parent.parent}'"
            )


def check_machine(config: ClientConfig, snapshot: Snapshot) -> None:
    """Refuse machine statistics of another machine than ``data-sheet.yaml`` states today.

    Raises:
        MachineUnstated: None is stated, the snapshot has none, or the sheet was changed since.
    """
    home = ClientHome(snapshot.folder.parent.parent)
    if config.data_sheet is None:
        raise MachineUnstated(
            f"machine statistics: {home.data_sheet} is missing, so no machine is stated: write the"
            f" machine's data sheet there, and run 'wg-client freeze --home {home.root}'"
        )
    if snapshot.machine.data_sheet != config.data_sheet:
        raise MachineUnstated(
            f"{home.data_sheet}: changed since snapshot {snapshot.manifest.number} was made, whose"
            " machine statistics depend on what it states; run 'wg-client freeze --home"
            f" {home.root}'"
        )
