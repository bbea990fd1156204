"""Processor time of one ``wg-client apply``. Run with ``python -m bench.apply_seconds``.

A plant of 204 records of three classes, images through an encoder at 64 pixels on one thread, gets
a package of two heads. Nothing blocks, so that every model goes through every check, those that
change and mark records too. Seconds are the processor's, of the whole process, imports among them:
the least and the median of several. ``import torch`` alone stands beside them, and the parts are
those of one run more under a clock.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from tests.client.conftest import fitted_encoder, pictures, plant_maker

from wg_client.fitting.linear_head import fit_lda, scaling
from wg_client.site.check_policy import ChecksConfig
from wg_client.site.config import AcceptanceConfig
from wg_client.site.failures import CODES
from wg_common.errors import EXIT_NOT_ACCEPTED
from wg_common.nets.encoder.module import load_encoder

_EACH = 68  # Records of each of three classes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--pixels", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        package = _plant(root, options.pixels)
        seconds = []
        for _ in range(options.times):
            shutil.copytree(root / "plant-a", root / "before")
            apply = "from wg_client.cli.main import main; main()"
            seconds.append(_seconds(apply, "apply", "--home", str(root / "plant-a"), str(package)))
            shutil.rmtree(root / "plant-a")
            (root / "before").rename(root / "plant-a")
        torch = [_seconds("import torch") for _ in range(options.times)]
    print(f"{3 * _EACH} records at {options.pixels} pixels, every check of two models")
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    for name, found in (("apply", seconds), ("of it import torch", torch)):
        print(f"{name}: {min(found):.1f} s, median {statistics.median(found):.1f} s")


def _plant(root: Path, pixels: int) -> Path:
    """Make the plant and what a server would send it; the package's file."""
    encoder = fitted_encoder(pixels)
    plant = plant_maker(root, encoder)(dict.fromkeys(range(3), _EACH))
    warn = ChecksConfig(actions=dict.fromkeys(CODES, "warn"))
    plant.configure(acceptance=AcceptanceConfig(checks=warn))
    rng = np.random.default_rng(12)
    labels = np.repeat(np.arange(3), 60)
    images = np.concatenate([pictures(rng, label, 60) for label in range(3)])
    features = load_encoder(encoder).encode(images).astype(np.float64)
    scale = scaling(features)
    heads = [scale.unscale(fit_lda(scale.apply(features), labels, 3, s)) for s in (0.5, 0.2)]
    weights = {"network": (heads[0], "network"), "sample-0": (heads[1], "diffusion")}
    package = root / "package.wgw"
    package.write_bytes(plant.package(weights))
    return package


def _seconds(program: str, *words: str) -> float:
    """Processor time of a Python program in a process of its own, on one thread."""
    before = _children()
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, check=False, capture_output=True
    )
    if done.returncode not in (0, EXIT_NOT_ACCEPTED):
        raise SystemExit(done.stderr.decode())
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
