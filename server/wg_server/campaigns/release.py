"""Accepted releases, and the plant that a package is made for."""

from dataclasses import dataclass

from wg_core.ledger.entries import PublicStatement
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import CLASS_STATISTICS, MACHINE_STATISTICS, StatisticsKind
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.statistics_file import StatisticsManifest


@dataclass(frozen=True, slots=True)
class DecodedRelease:
    """Release of a plant after verification: manifest and statistics."""

    manifest: StatisticsManifest
    statistics: NoisyStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRecipient:
    """Plant that a package is made for, as described by its release or statement.

    Attributes:
        site: Name of the site.
        encoder_sha256: SHA-256 of its public encoder, hex.
        labels: Label domain, in the order of the rows of a head.
        data_sheet: Declared data sheet of its machine, or None.
        release: Release of the plant; None for a public statement, whose epsilon is 0.
    """

    site: str
    encoder_sha256: str
    labels: tuple[str, ...]
    data_sheet: DataSheet | None
    release: DecodedRelease | None = None

    @property
    def release_id(self) -> str:
        """Id of the release; empty if there is none."""
        return "" if self.release is None else self.release.manifest.release_id

    @property
    def statistics_kind(self) -> StatisticsKind:
        """Kind of the released statistics; ``classes`` if there is no release."""
        return (
            CLASS_STATISTICS if self.release is None else self.release.manifest.schema.release_kind
        )

    @property
    def machine_statistics(self) -> NoisyStatistics | None:
        """Released machine statistics of the plant, or None."""
        if self.release is None or self.statistics_kind != MACHINE_STATISTICS:
            return None
        return self.release.statistics


def recipient_from_release(
    manifest: StatisticsManifest, release: DecodedRelease | None = None
) -> PackageRecipient:
    """Return the plant that a release's manifest names, with the opened release if given."""
    return PackageRecipient(
        site=manifest.site,
        encoder_sha256=manifest.schema.encoder,
        labels=manifest.class_names,
        data_sheet=manifest.data_sheet,
        release=release,
    )


def recipient_from_statement(statement: PublicStatement) -> PackageRecipient:
    """Return the plant that made a public statement."""
    return PackageRecipient(
        site=statement.site,
        encoder_sha256=statement.encoder,
        labels=statement.labels,
        data_sheet=statement.data_sheet,
    )
