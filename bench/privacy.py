"""Speed and accuracy of the privacy core. Run with ``python -m bench.privacy``.

Prints the machine, then one line per figure. Nothing is asserted.
"""

import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version

import numpy as np

from wg_audit import composition
from wg_core.privacy import accounting, calibration, mechanism
from wg_core.privacy.events import PrivacyEvent, gaussian_event
from wg_core.privacy.exact_statistics import exact_statistics
from wg_core.privacy.schema import default_schema

DELTA = 1e-5


def best_seconds(work: Callable[[], object], repeat: int = 3) -> float:
    """Best time of a few runs, seconds."""
    best = float("inf")
    for _ in range(repeat):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best


def release_event(epsilon: float) -> PrivacyEvent:
    """Return the privacy event of one release at an epsilon."""
    return gaussian_event(10**12, 10**6 * (1 / calibration.largest_mu(epsilon, DELTA)))


def time_releases() -> None:
    rng = np.random.default_rng(0)
    labels = [f"class-{number}" for number in range(10)]
    schema = default_schema(encoder="00" * 32, dimension=64, labels=labels, clip_radius=1.0)
    x, y = rng.normal(size=(10_000, 64)), rng.integers(-1, 10, 10_000)
    exact = exact_statistics(schema, x, y)
    sigma = mechanism.noise_scale(schema, 1.0, DELTA)
    mechanism.add_noise(exact, sigma)  # warm up
    summed = best_seconds(lambda: exact_statistics(schema, x, y))
    noised = best_seconds(lambda: mechanism.add_noise(exact, sigma))
    print(
        f"release: {schema.vector_length} entries; exact sums of 10,000 records {summed:.3f} s,"
        f" noise {noised:.4f} s"
    )


def time_accountants() -> None:
    kinds = [release_event(0.05), release_event(0.1), release_event(0.02)]
    cases = {
        "1000 mixed releases": [kinds[number % 3] for number in range(1000)],
        "1000 Gaussian releases": [release_event(0.05)] * 1000,
        "10 releases of epsilon 1": [release_event(1.0)] * 10,
    }
    for name, events in cases.items():
        value = accounting.composed_epsilon(events, DELTA)
        units = sum(int(event.mu_squared) for event in events)
        first = best_seconds(lambda e=events: accounting.composed_epsilon(e, DELTA))  # type: ignore[misc]
        second = best_seconds(lambda u=units: composition.gaussian_epsilon(u, DELTA))  # type: ignore[misc]
        print(
            f"{name}: primary {value:.6f} in {first:.3f} s; the auditor's"
            f" {composition.gaussian_epsilon(units, DELTA):.6f} in {second:.3f} s"
        )


def main() -> None:
    packages = ("opendp", "dp-accounting", "numpy", "scipy")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(versions)
    time_releases()
    time_accountants()


if __name__ == "__main__":
    main()
