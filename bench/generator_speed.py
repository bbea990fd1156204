"""Speed of rendering, encoding and generation. Run with ``python -m bench.generator_speed``.

Prints one line per figure, measured on one thread; figures and machine are stored in
``bench/results``. Seconds are processor time, which depends less on other load of the machine.
Nothing is asserted.
"""

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import installed
from bench.measure import describe_machine, save_result
from numpy.typing import NDArray
from tests.bearings import BEARING

from wg_common import weights_package
from wg_common.catalogue import SAME_FAMILY_SOURCE
from wg_common.inference.family_head import FamilyHead, FeatureLayout
from wg_common.nets.encoder import image_trunk, window_trunk
from wg_common.nets.encoder.projected_trunk import Encoder, load_encoder
from wg_common.nets.encoder.projection_fit import fit_encoder
from wg_core.privacy import mechanism
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import default_schema
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.generator.prior.evidence_pools import EvidencePool, pools_of_releases
from wg_server.generator.weights import bearing_simulation
from wg_server.generator.weights.data_sheet_generation import (
    DataSheetGenerator,
    MachineKindGenerator,
)
from wg_server.generator.weights.head_generation import HeadGenerator, generate_heads
from wg_server.generator.weights.machine_model import INPUT_SCALINGS, MachineModel
from wg_server.generator.weights.machine_networks import NetworkSizes
from wg_server.site.home import ServerHome
from wg_server.zoo.procedural import families

LABELS = tuple(f"c{i}" for i in range(10))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a server's home, trained")
    options = parser.parse_args()
    torch.set_num_threads(1)
    figures = {
        "pictures_per_second": measure_rendering(),
        **measure_encoding(),
        **measure_sheet_networks(),
    }
    if options.home is not None:
        home = ServerHome(options.home)
        heads = installed.head_generator(home)
        figures |= measure_generation(heads)
        figures |= package_size(heads, load_encoder(home.read_encoder()))
    figures["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process: {figures['peak_memory_mb']:.0f} MB")
    save_result("generator_speed", {"machine": describe_machine(), "figures": figures})


def measure_encoding() -> dict[str, float]:
    """Records encoded per second: singly, as for a release, and in batches, as for a prediction."""
    rng = np.random.default_rng(0)
    groups, labels = np.arange(2000) % 5, np.arange(2000) % 3
    raw = rng.normal(size=(2000, image_trunk.FEATURE_COUNT)).astype(np.float32)
    images = load_encoder(fit_encoder(raw, groups))
    raw = rng.normal(size=(2000, window_trunk.FEATURE_COUNT)).astype(np.float32)
    signals = load_encoder(fit_encoder(raw, groups, labels, modality="windows"))
    pictures = rng.integers(0, 256, (256, 64, 64, 3), dtype=np.uint8)
    waves = rng.normal(size=(32, 3, 2048)).astype(np.float32)
    found = {
        "images_encoded_per_second": _rate(images.encode_local, pictures),
        "images_encoded_in_batches_per_second": _rate(images.encode_local_batched, pictures),
        "windows_encoded_per_second": _rate(signals.encode_local, waves),
    }
    for name, rate in found.items():
        print(f"{name.removesuffix('_per_second').replace('_', ' ')}: {rate:.0f} /s")
    return found


def _rate(encode: Callable[[Any], object], records: NDArray[Any]) -> float:
    """Return the best rate of three runs, records per second."""
    encode(records[:4])
    best = 0.0
    for _ in range(3):
        started = time.process_time()
        encode(records)
        best = max(best, len(records) / (time.process_time() - started))
    return best


def measure_rendering() -> float:
    """Pictures rendered per second, including those of whole sheets of material."""
    started, count = time.process_time(), 0
    for number in range(40):
        family = families.draw_family((7, number))
        site = families.draw_site(family, 0, strength=0.6)
        labels = np.arange(len(family.classes)).repeat(40)
        count += len(families.render_records(family, site, labels, np.random.default_rng(number)))
    rate = count / (time.process_time() - started)
    print(f"rendering: {rate:.0f} pictures/s of 64 x 64")
    return rate


def measure_generation(generator: HeadGenerator) -> dict[str, float]:
    """Fewest seconds of three runs for the candidates of ten classes, with three other sites."""
    others = _pools(generator)
    found = {
        "candidates_seconds": _fewest_seconds(lambda: generate_heads(generator, others, LABELS))
    }
    print(f"generation: candidates in {found['candidates_seconds']:.3f} s")
    return found


def measure_sheet_networks() -> dict[str, float]:
    """Seconds for sixteen networks from a data sheet, with untrained weights."""
    sheet, sheet_labels = DataSheet(rotating_machine=BEARING), ("normal", "ball", "inner", "outer")
    simulator = bearing_simulation.BearingSimulator(0)
    model = MachineModel(simulator.kind, simulator.hidden_figure_count, NetworkSizes()).eval()
    model.initialise_parameters(torch.Generator().manual_seed(0))
    generator = DataSheetGenerator(
        {
            simulator.kind.name: MachineKindGenerator(
                model, dict.fromkeys(INPUT_SCALINGS, "conditioned")
            )
        }
    )
    seconds = {
        "sheet_networks_seconds": _fewest_seconds(
            lambda: generator.generate_networks(sheet, sheet_labels)
        )
    }
    print(f"sixteen networks from a data sheet: {seconds['sheet_networks_seconds']:.3f} s")
    return seconds


def package_size(generator: HeadGenerator, encoder: Encoder) -> dict[str, float]:
    """Bytes of a package's tensors for ten classes, with a family head."""
    others = _pools(generator)
    made = generate_heads(generator, others, LABELS)
    size = sum(FeatureLayout(encoder.scaled_dimension, encoder.local_block_sizes).head_block_sizes)
    classes = len(LABELS)
    family = FamilyHead(
        reference=np.zeros((2, size)),
        records=np.zeros(1),
        weight=np.zeros((classes, size)),
        bias=np.zeros(classes),
    )
    tensors = {c.name: c.tensors for c in made} | {SAME_FAMILY_SOURCE: family.tensors()}
    found = len(weights_package.pack_tensors(tensors))
    print(f"package of heads: {found / 1e6:.2f} MB, {classes} classes")
    return {"package_bytes": float(found)}


def _pools(generator: HeadGenerator) -> list[EvidencePool]:
    """Evidence of three other sites, from releases of twenty records per class at epsilon 4."""
    rng = np.random.default_rng(0)
    schema = default_schema(
        encoder=generator.package.encoder_sha256,
        dimension=len(generator.package.priors.between),
        labels=LABELS,
        clip_radius=1.0,
    )
    sigma = mechanism.noise_scale(schema, 4.0, 1e-5)

    def release() -> NoisyStatistics:
        x = rng.normal(0, 0.1, (200, schema.dimension))
        return simulate_noisy_statistics(schema, x, np.arange(200) % 10, sigma, rng)

    return pools_of_releases(generator.package.priors, release(), [release() for _ in range(3)])


def _fewest_seconds(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(3):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


if __name__ == "__main__":
    main()
