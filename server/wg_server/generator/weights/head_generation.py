"""Generation: from releases to candidates.

The server holds no data, so nothing here measures accuracy. Candidates come in the order in which
the server would try them; the plant finishes them and chooses among them on its own records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wg_common.catalogue import CandidateSource
from wg_common.inference.posterior import Posterior
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.wire import canonical
from wg_server.generator.families import heads as families
from wg_server.generator.prior import pooling
from wg_server.generator.prior.pooling import Pool
from wg_server.generator.weights.head_package import PACKAGE_LIMIT, Parts, unpack
from wg_server.generator.weights.makers import GeneratedCandidate, Tensors, candidates

POSTERIOR_CLASSES = 256
"""Most classes of a posterior that is sent: its tensors grow with their square (17 MB here)."""


@dataclass(frozen=True, slots=True, eq=False)
class Generator:
    """A loaded generator.

    Attributes:
        id: SHA-256 of its package, hex.
        parts: What it consists of.
    """

    id: str
    parts: Parts


@dataclass(frozen=True, slots=True, eq=False)
class HeadMaking:
    """A ``Making`` of what plants finish to heads.

    Attributes:
        parts: Of the generator.
        labels: The site's label domain.
        pooled: What the other sites know, with what class names foretell.
    """

    parts: Parts
    labels: tuple[str, ...]
    pooled: Posterior

    def of_families(self) -> Iterable[tuple[CandidateSource, Tensors]]:
        """See ``Making``."""
        operator = self.parts.operator_families
        return () if operator is None else families.offered(operator, self.labels)

    def of_others(self) -> Tensors | None:
        """See ``Making``; none where it would be too large."""
        if len(self.labels) > POSTERIOR_CLASSES:
            return None
        return self.pooled.tensors()


def load_generator(path: Path) -> Generator:
    """Read a generator package.

    Raises:
        ConfigError: The file is missing; run ``wg-server train``.
        DecodeError: It is no generator package.
    """
    data = atomic.read_bytes(path, limit=PACKAGE_LIMIT)
    return Generator(canonical.sha256_hex(data), unpack(data))


def generate(
    generator: Generator, pools: Sequence[Pool], labels: tuple[str, ...]
) -> tuple[GeneratedCandidate, ...]:
    """Make candidates for one site; nothing of its own release has a part in them.

    Args:
        generator: From ``load_generator``.
        pools: What other sites know, by kind, without the plant's own release.
        labels: The site's label domain, in the order of class rows.

    Raises:
        DataError: No labels or too many.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"labels: {len(labels)} names, expected at least two different ones")
    parts = generator.parts
    named = parts.fitted_priors.named(labels)
    pooled = pooling.posterior(parts.priors, pools, labels, named)
    offered = candidates(HeadMaking(parts, labels, pooled))
    if not offered:
        raise DataError(f"labels: {len(labels)} names, expected at most {POSTERIOR_CLASSES}")
    return offered
