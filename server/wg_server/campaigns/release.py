"""A release as packages are made of it."""

from dataclasses import dataclass

from wg_core.privacy.statistics import NoisyStatistics
from wg_core.wire.statistics_file import StatisticsManifest


@dataclass(frozen=True, slots=True)
class Release:
    """A release, opened."""

    manifest: StatisticsManifest
    statistics: NoisyStatistics
