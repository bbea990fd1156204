"""Generation: from releases to candidates.

The server holds no data, so nothing here measures accuracy. Candidates come in the order in which
the server would try them; the plant finishes them and chooses among them on its own records.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from wg_common.catalogue import POSTERIOR
from wg_common.inference.posterior import Posterior
from wg_core import atomic
from wg_core.errors import DataError
from wg_core.wire import canonical
from wg_server.generator.families import heads as families
from wg_server.generator.prior import pooling
from wg_server.generator.prior.pooling import Pool
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.generator.weights.head_package import PACKAGE_LIMIT, Parts, unpack

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


Maker = Callable[[Parts, tuple[str, ...], Posterior], Iterable[GeneratedCandidate]]
"""A source of candidates, as a plant's ``Method`` is one way to get a model: of a generator's
parts, a plant's label domain, and what other sites and class names say of it. To add one: a
function, its line in ``MAKERS``, and its word in ``wg_common.catalogue``."""


def of_families(
    parts: Parts, labels: tuple[str, ...], pooled_means: Posterior
) -> Iterator[GeneratedCandidate]:
    """The operator's families: fixed models that the plant standardises by its own records."""
    if parts.operator_families is not None:
        offers = families.candidates_for(parts.operator_families, labels)
        for number, (source, tensors, privacy) in enumerate(offers):
            name = f"{source}-{number + 1}" if number else source
            yield GeneratedCandidate(name, source, tensors, privacy=privacy)


def of_others(
    parts: Parts, labels: tuple[str, ...], pooled_means: Posterior
) -> Iterator[GeneratedCandidate]:
    """Yield the candidate of other sites' releases, unless it would be too large."""
    if len(labels) <= POSTERIOR_CLASSES:
        yield GeneratedCandidate(POSTERIOR, POSTERIOR, pooled_means.tensors())


MAKERS: tuple[Maker, ...] = (of_families, of_others)
"""All of them, in the order in which the server would try their candidates."""


def load_generator(path: Path) -> Generator:
    """Read a generator package.

    Raises:
        ConfigError: The file is missing; run ``wg-server train``.
        DecodeError: It is no generator package.
    """
    data = atomic.read_bytes(path, limit=PACKAGE_LIMIT)
    return Generator(canonical.sha256_hex(data), unpack(data))


def generate(
    generator: Generator,
    pools: Sequence[Pool],
    labels: tuple[str, ...],
    behind: Mapping[str, int] = MappingProxyType({}),
) -> tuple[GeneratedCandidate, ...]:
    """Make candidates for one site; nothing of its own release has a part in them.

    Args:
        generator: From ``load_generator``.
        pools: What other sites know, by kind, without the plant's own release.
        labels: The site's label domain, in the order of class rows.
        behind: How many other sites stand behind a class, by its name.

    Raises:
        DataError: No labels or too many.
    """
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise DataError(f"labels: {len(labels)} names, expected at least two different ones")
    parts = generator.parts
    name_prior = parts.fitted_priors.class_prior(labels)
    pooled_posterior = pooling.posterior(parts.priors, pools, labels, name_prior)
    sites = np.array([behind.get(name, 0) for name in labels], dtype=np.float64)
    pooled_posterior = replace(pooled_posterior, sites=sites)
    candidates = tuple(
        candidate for maker in MAKERS for candidate in maker(parts, labels, pooled_posterior)
    )
    if not candidates:
        raise DataError(f"labels: {len(labels)} names, expected at most {POSTERIOR_CLASSES}")
    return candidates
