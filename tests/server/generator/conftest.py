"""A small zoo and its generator, without images: features are drawn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from wg_core.privacy import mechanism
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import default_schema
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.generator.prior.class_names import fit_public_priors
from wg_server.generator.prior.zoo_tasks import ZooTask
from wg_server.generator.weights.head_generation import HeadGenerator
from wg_server.generator.weights.head_package import HeadPackage

DIMENSION = 16
ENCODER = "ab" * 32


@dataclass(frozen=True, slots=True)
class World:
    """Features of invented plants: class means, a site's shift, and noise within classes."""

    seed: int

    def task(self, family: int, site: int, classes: int = 4, per_class: int = 20) -> ZooTask:
        x, y = self.records(family, site, classes, per_class, 0)
        return ZooTask(
            f"{family}-{site}",
            f"family-{family}",
            tuple(f"c{i}" for i in range(classes)),
            x.astype(np.float32),
            y,
        )

    def records(
        self, family: int, site: int, classes: int, per_class: int, draw: int
    ) -> tuple[np.ndarray, np.ndarray]:
        means = np.random.default_rng((self.seed, family)).normal(0, 0.12, (classes, DIMENSION))
        there = np.random.default_rng((self.seed, family, site + 1))
        means = means + there.normal(0, 0.1, DIMENSION) + there.normal(0, 0.05, means.shape)
        y = np.arange(classes).repeat(per_class)
        rng = np.random.default_rng((self.seed, family, site, draw, 9))
        return means[y] + rng.normal(0, 0.07, (len(y), DIMENSION)), y

    def release(
        self,
        family: int,
        site: int,
        *,
        epsilon: float | None,
        shots: int,
        labels: tuple[str, ...] = ("c0", "c1", "c2", "c3"),
        missing: tuple[int, ...] = (),
        labelled: bool = True,
    ) -> NoisyStatistics:
        x, y = self.records(family, site, len(labels), shots, 1)
        keep = ~np.isin(y, missing)
        x, y = x[keep], y[keep] if labelled else np.full(keep.sum(), -1)
        schema = default_schema(
            encoder=ENCODER, dimension=DIMENSION, labels=labels, clip_radius=1.0
        )
        sigma = 0.0 if epsilon is None else mechanism.noise_scale(schema, epsilon, 1e-5)
        return simulate_noisy_statistics(
            schema, x, y, sigma, np.random.default_rng((family, site, 3))
        )


@pytest.fixture(scope="session")
def world() -> World:
    return World(7)


@pytest.fixture(scope="session")
def zoo_tasks(world: World) -> list[ZooTask]:
    return [world.task(family, site) for family in range(10) for site in range(3)]


@pytest.fixture(scope="session")
def generator(zoo_tasks: list[ZooTask]) -> HeadGenerator:
    parts = HeadPackage(
        encoder_sha256=ENCODER,
        architecture="lite0-head",
        priors=fit_public_priors(zoo_tasks).model_variances,
    )
    return HeadGenerator("cd" * 32, parts)
