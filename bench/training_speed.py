"""Speed of training on one process and on several. ``python -m bench.training_speed --home DIR``.

Some steps of the default plan for heads on a home's zoo, episodes drawn in line, with no validation
and no model card. Prints seconds of the clock and of the processors, rank by rank, and stores them
with the machine under ``bench/results``. Several ranks are processes of this machine on loopback;
``torchrun`` would start them alike. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from bench.measure import machine, save

from wg_common.wire import canonical
from wg_server.generator import pipeline
from wg_server.generator.heads.denoiser import Denoiser, DenoiserConfig
from wg_server.generator.plan import read_plan
from wg_server.generator.prior.zoo_tasks import load_tasks
from wg_server.generator.simulation import prefetch
from wg_server.generator.training import compute, distributed
from wg_server.generator.training.compute import Compute
from wg_server.site.home import ServerHome
from wg_server.zoo.store import Zoo
from wg_server.zoo.workers import threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home with a zoo")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", nargs="+", default=["fp32", "bf16"])
    options = parser.parse_args()
    if "RANK" in os.environ:
        rank(options.home, options.steps, options.device, options.precision[0])
        return
    found = []
    for world in options.process_group:
        for precision in options.precision:
            for row in _started(options, world, precision):
                found.append(row | {"precision": precision, "processes": world})
                print(found[-1], flush=True)
    save("training_speed", {"machine": machine(), "steps": options.steps, "figures": found})


def rank(home: Path, steps: int, device: str, precision: str) -> None:
    """Run as one of the ranks, and print one JSON line."""
    plan, rank_info = read_plan(None), distributed.read_rank_info(os.environ)
    place, chosen = ServerHome(home), compute.choose_device(device, rank_info)
    with (
        threads(plan.threads),
        compute.reproducible(chosen),
        distributed.joined(rank_info, chosen.type) as group,
    ):
        how = Compute(chosen, compute.choose_precision(precision, chosen), group)
        encoder = canonical.sha256_hex(place.encoder.read_bytes())
        ground = pipeline.prepare(load_tasks(Zoo(place.zoo), encoder), plan, encoder)
        codec = pipeline._codec(ground, plan, np.random.default_rng(1)).to(chosen)
        dimension = codec.decode_matrix.shape[1] - 1
        model = Denoiser(
            DenoiserConfig(
                dimension=dimension, latent=codec.latent, width=plan.width, depth=plan.depth
            )
        )
        model.draw(torch.Generator().manual_seed(plan.seed))
        model.to(chosen)
        optimiser = torch.optim.AdamW(model.parameters(), lr=plan.learning_rate)
        draw = prefetch.Draw(plan.seed, how.process_group.share(plan.batch))
        how.process_group.check_same("the start", "")
        drawing, began, used = 0.0, time.monotonic(), time.process_time()
        for step in range(steps):
            before = time.process_time()
            episodes = draw.episodes(ground.train, step)
            drawing += time.process_time() - before
            pipeline._step(model, codec, episodes, plan, optimiser, step, how)
        figures = {
            "rank": rank_info.rank,
            "clock_seconds": time.monotonic() - began,
            "processor_seconds": time.process_time() - used,
            "of_which_drawing": drawing,
        }
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


def _started(options: argparse.Namespace, world: int, precision: str) -> list[dict[str, float]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    words = [sys.executable, "-m", "bench.training_speed", "--home", str(options.home)]
    words += ["--steps", str(options.steps), "--device", options.device, "--precision", precision]
    place = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1"}
    started = [
        subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            env=os.environ
            | {name: str(value) for name, value in place.items()}
            | {"RANK": str(number), "LOCAL_RANK": str(number), "MASTER_PORT": str(port)},
        )
        for number in range(world)
    ]
    outputs = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a rank failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


if __name__ == "__main__":
    main()
