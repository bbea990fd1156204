"""Speed of rendering, encoding and generation. Run with ``python -m bench.bench_generator_speed``.

Prints one line a figure, on one thread. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path

import numpy as np
import torch

from wg_common.nets.encoder import load_encoder
from wg_common.privacy import mechanism
from wg_common.privacy.exact import exact_statistics
from wg_common.privacy.schema import default_schema
from wg_common.privacy.simulate import simulate_release
from wg_common.privacy.statistics import NoisyStatistics
from wg_server.generator.generate import Generator, Memory, generate, load_generator
from wg_server.home import ServerHome
from wg_server.zoo.procedural import families


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a server's home, trained")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rendering()
    if options.home is not None:
        home = ServerHome(options.home)
        encoder = load_encoder(home.encoder.read_bytes())
        images = np.random.default_rng(0).integers(0, 256, (256, 64, 64), dtype=np.uint8)
        encoder.encode(images[:64])
        started = time.perf_counter()
        encoder.encode(images)
        print(f"encoding: {len(images) / (time.perf_counter() - started):.0f} images/s")
        generation(load_generator(home.generator))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory: {peak:.0f} MB")


def rendering() -> None:
    """Pictures a second, sheets included."""
    started, count = time.perf_counter(), 0
    for number in range(40):
        family = families.draw_family((7, number))
        site = families.draw_site(family, 0, strength=0.6)
        labels = np.arange(len(family.classes)).repeat(40)
        count += len(families.render(family, site, labels, np.random.default_rng(number)))
    print(f"rendering: {count / (time.perf_counter() - started):.0f} pictures/s of 64 x 64")


def generation(generator: Generator) -> None:
    """Seconds for sixteen candidates of ten classes with three sites in memory."""
    rng = np.random.default_rng(0)
    labels = tuple(f"c{i}" for i in range(10))
    schema = default_schema(
        encoder=generator.parts.encoder,
        dimension=generator.parts.denoiser.config.dimension,
        labels=labels,
        clip_radius=1.0,
    )
    sigma = mechanism.sigma_for(schema, 4.0, 1e-5)

    def release() -> NoisyStatistics:
        x = rng.normal(0, 0.1, (200, schema.dimension))
        exact = exact_statistics(schema, x, np.arange(200) % 10)
        return NoisyStatistics(schema, simulate_release(exact, sigma, rng), sigma)

    memory = [Memory(f"site-{i}", release()) for i in range(3)]
    own = release()
    generate(generator, own, memory, labels, samples=16, seed=1)
    started = time.perf_counter()
    generate(generator, own, memory, labels, samples=16, seed=1)
    print(f"generation: 16 candidates in {time.perf_counter() - started:.3f} s")


if __name__ == "__main__":
    main()
