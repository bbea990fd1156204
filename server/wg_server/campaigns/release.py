"""A release that was taken in, and the plant that a package is made for."""

from dataclasses import dataclass

from wg_core.ledger.entries import PublicStatement
from wg_core.privacy.schema import CLASSES, MACHINE, Statistics
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire.data_sheet import DataSheet
from wg_core.wire.statistics_file import StatisticsManifest


@dataclass(frozen=True, slots=True)
class Release:
    """A release, opened."""

    manifest: StatisticsManifest
    statistics: NoisyStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """The plant that a package is made for, by what it sent.

    Attributes:
        site: Name of the site.
        encoder: SHA-256 of its public encoder, hex.
        labels: Label domain, in the order of class rows.
        data_sheet: What it states in public of the source of its records; None: nothing.
        release: What it released; None: nothing but this was stated, and the epsilon is 0.
    """

    site: str
    encoder: str
    labels: tuple[str, ...]
    data_sheet: DataSheet | None
    release: Release | None = None

    @property
    def release_id(self) -> str:
        """Id of the release; empty where there is none."""
        return "" if self.release is None else self.release.manifest.release_id

    @property
    def statistics(self) -> Statistics:
        """Statistics that it released; those of one that released nothing count as of classes."""
        return CLASSES if self.release is None else self.release.manifest.schema.statistics

    @property
    def machine(self) -> NoisyStatistics | None:
        """Machine statistics, if it released these."""
        if self.release is None or self.statistics != MACHINE:
            return None
        return self.release.statistics


def releasing(manifest: StatisticsManifest, release: Release | None = None) -> Recipient:
    """The plant that a release's manifest names; with what it released, where that is opened."""
    return Recipient(
        site=manifest.site,
        encoder=manifest.schema.encoder,
        labels=manifest.class_names,
        data_sheet=manifest.data_sheet,
        release=release,
    )


def stating(statement: PublicStatement) -> Recipient:
    """The plant that made a public statement."""
    return Recipient(
        site=statement.site,
        encoder=statement.encoder,
        labels=statement.labels,
        data_sheet=statement.data_sheet,
    )
