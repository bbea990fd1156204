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
import tempfile
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from bench.measure import machine, save

from wg_server.generator.heads.denoiser import Denoiser
from wg_server.generator.heads.objective import HeadObjective
from wg_server.generator.plan import read_plan
from wg_server.generator.prior.zoo_tasks import load_tasks
from wg_server.generator.simulation.data import prepare
from wg_server.generator.simulation.episodes import Episode
from wg_server.generator.training import compute, distributed, loop
from wg_server.generator.training.compute import Compute
from wg_server.generator.training.objective import Evaluation
from wg_server.site.home import ServerHome
from wg_server.zoo.store import Zoo
from wg_server.zoo.workers import threads


class Timed(HeadObjective):
    """Heads without validation; counts the processor's seconds that drawing episodes takes."""

    drawing = 0.0

    def batches(self, steps: range) -> Generator[list[Episode], None, None]:
        """As for training."""
        stream = super().batches(steps)
        while True:
            before = time.process_time()
            episodes = next(stream, None)
            self.drawing += time.process_time() - before
            if episodes is None:
                return
            yield episodes

    def evaluate(self, model: Denoiser) -> Evaluation:
        """Nothing."""
        return Evaluation(0.0, 0.0)


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
    for world in options.ranks:
        for precision in options.precision:
            for row in _started(options, world, precision):
                found.append(row | {"precision": precision, "processes": world})
                print(found[-1], flush=True)
    save("training_speed", {"machine": machine(), "steps": options.steps, "figures": found})


def rank(home: Path, steps: int, device: str, precision: str) -> None:
    """Run as one of the ranks, and print one JSON line."""
    plan, rank_info = read_plan(None), distributed.read_rank_info(os.environ)
    plan = replace(plan, steps=steps, evaluate_every=steps + 1)
    place, chosen = ServerHome(home), compute.choose_device(device, rank_info)
    with (
        threads(plan.threads),
        compute.reproducible(chosen),
        distributed.joined(rank_info, chosen.type) as group,
        tempfile.TemporaryDirectory() as folder,
    ):
        how = Compute(chosen, compute.choose_precision(precision, chosen), group)
        encoder = place.encoder_id()
        data = prepare(
            load_tasks(Zoo(place.zoo), encoder), encoder, seed=plan.seed, folds=plan.folds
        )
        objective = Timed(data, plan, plan.seed, how=how)
        group.check_same("the start", "")
        began, used = time.monotonic(), time.process_time()
        loop.train(objective, plan, Path(folder) / "checkpoint", "", _silent, how)
        figures = {
            "rank": rank_info.rank,
            "clock_seconds": time.monotonic() - began,
            "processor_seconds": time.process_time() - used,
            "of_which_drawing": objective.drawing,
        }
        print(json.dumps({name: round(value, 2) for name, value in figures.items()}))


def _silent(_done: int, _detail: str) -> None:
    return None


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
