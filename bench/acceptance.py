"""What the do-no-harm rule costs and saves. Run with ``python -m bench.acceptance --home DIR``.

Plants are cut from real data sets (``bench.plants``), sisters release statistics, a trained home's
generator answers, and the contest is held. Three ways to choose are compared, on test records that
no part of it saw: the rule; the rule that it replaced, which counted right answers
(docs/decisions/0056); always taking the generated head after local training. Finished runs are kept
in ``--results`` (JSON lines), so that a run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench import plants
from bench.plants import DATASETS, QUICK, Floats, Ints, Plants

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import LinearHead, head_from_tensors
from wg_client.selection import checks, compare
from wg_client.selection.compare import GENERATED_FINETUNED, LOCAL, Outcome
from wg_client.selection.entrants import Offer
from wg_client.site.config import AcceptanceConfig
from wg_common.catalogue import POSTERIOR
from wg_common.inference.posterior import from_tensors
from wg_common.nets.encoder.module import load_encoder
from wg_server.generator.heads.generate import Generator, SiteRelease, generate, load_generator
from wg_server.site.home import ServerHome

POLICY = AcceptanceConfig()


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One kind of plant.

    Attributes:
        name: For the table.
        epsilon: Of every release.
        shots: Labels of a class.
        missing: Share of classes that the plant has never seen.
        sisters: Number of sister plants.
        wrong: Whether the sisters' classes are permuted: memory that misleads.
        camera: Strength of the plant's own camera.
        uneven: Whether classes have 1 to 2 ``shots`` labels instead.
    """

    name: str
    epsilon: float = 4.0
    shots: int = 5
    missing: float = 0.0
    sisters: int = plants.SISTERS
    wrong: bool = False
    camera: float = 0.0
    uneven: bool = False


SETTINGS = (
    Setting(name="2 labels a class", shots=2),
    Setting(name="5 labels"),
    Setting(name="5 labels, epsilon 1", epsilon=1.0),
    Setting(name="20 labels", shots=20),
    Setting(name="5 labels, no sisters", epsilon=1.0, sisters=0),
    Setting(name="20 labels, no sisters", shots=20, sisters=0),
    Setting(name="5 labels, wrong sisters", wrong=True),
    Setting(name="20 labels, wrong sisters", shots=20, wrong=True),
    Setting(name="5 labels, epsilon 1, 30 % of classes missing", epsilon=1.0, missing=0.3),
    Setting(name="20 labels, 30 % missing", shots=20, missing=0.3),
    Setting(name="5 labels, 30 % missing, wrong sisters", missing=0.3, wrong=True),
    Setting(name="5 labels, 30 % missing, no sisters", missing=0.3, sisters=0),
    Setting(name="5 labels, new camera", camera=1.0),
    Setting(name="uneven, 12 labels on average", shots=12, uneven=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="a server's home, trained")
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/out/acceptance.jsonl"))
    parser.add_argument("--cache", type=Path, default=Path("bench/out/features"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="six data sets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    home = ServerHome(options.home)
    generator = load_generator(home.generator)
    encoder = load_encoder(home.encoder.read_bytes())
    options.results.parent.mkdir(parents=True, exist_ok=True)
    rows: dict[str, dict[str, Any]] = {}
    if options.results.is_file():
        rows = {r["key"]: r for r in map(json.loads, options.results.read_text().splitlines())}
    for seed in range(options.seeds):
        for name in QUICK if options.quick else DATASETS:
            for setting in SETTINGS:
                key = f"{generator.id[:16]} {name} {seed} {setting.name}"
                if key in rows:
                    continue
                cut = plants.cut(
                    encoder, encoder.id, options.datasets, name, seed, setting.camera, options.cache
                )
                if cut is None:
                    print(f"{name}: not here, left out")
                    break
                rows[key] = {"key": key, "setting": setting.name} | judge(
                    generator, cut, setting, seed
                )
                with options.results.open("a") as stream:
                    stream.write(json.dumps(rows[key]) + "\n")
            print(f"seed {seed}, {name}: done", flush=True)
    print("\n".join(table(rows.values())))


def judge(generator: Generator, cut: Plants, setting: Setting, seed: int) -> dict[str, float]:
    """Test accuracy minus local-only's under each way to choose, and of the best of all models."""
    rng = np.random.default_rng((seed, SETTINGS.index(setting), 77))
    k = len(cut.labels)
    x, y = _labelled(cut, setting, rng)
    d = cut.dimension
    own = plants.release(generator.parts.encoder, x[:, :d], y, cut.labels, setting.epsilon, rng)
    others = []
    for number, (sx, sy) in enumerate(cut.sisters[: setting.sisters]):
        said = np.random.default_rng((seed, 5)).permutation(k)[sy] if setting.wrong else sy
        release = plants.release(
            generator.parts.encoder, sx[:, :d], said, cut.labels, setting.epsilon, rng
        )
        others.append(SiteRelease(f"sister-{number}", release))
    made = generate(generator, own, others, cut.labels, samples=4, seed=seed)
    trunk = Trunk(x)
    offers = [
        Offer(c.name, c.source, trunk, head_from_tensors(c.tensors).padded(x.shape[1]))
        for c in made.candidates
        if c.source != POSTERIOR
    ]
    delivered = next(c.tensors for c in made.candidates if c.source == POSTERIOR)
    posterior = from_tensors(delivered, k, d)
    random = Offer("", "", trunk, LinearHead(rng.normal(size=(k, x.shape[1])), np.zeros(k)))
    outcome = compare.hold(
        trunk,
        y,
        None,
        offers,
        random,
        POLICY,
        posterior=posterior,
        noise=own.sum_std,
        others=bool(others),
    )
    tx, ty = cut.test
    right = {
        name: float((model.head.logits(tx).argmax(axis=1) == ty).mean())
        for name, model in outcome.models.items()
    }
    return {
        "rule": right[outcome.kept] - right[LOCAL],
        "before": right[_kept_before(outcome, k)] - right[LOCAL],
        "always": right[GENERATED_FINETUNED] - right[LOCAL],
        "best": max(right.values()) - right[LOCAL],
    }


def _labelled(cut: Plants, setting: Setting, rng: np.random.Generator) -> tuple[Floats, Ints]:
    x, y = cut.own
    k = len(cut.labels)
    gone = rng.permutation(k)[: round(setting.missing * k)]
    rows = []
    for label in np.setdiff1d(np.arange(k), gone):
        count = int(rng.integers(1, 2 * setting.shots)) if setting.uneven else setting.shots
        rows.append(rng.permutation(np.flatnonzero(y == label))[:count])
    found = np.concatenate(rows)
    return x[found], y[found]


def _kept_before(outcome: Outcome, classes: int) -> str:
    """What the rule before docs/decisions/0056 would have kept, by right answers.

    It also asked for a nat of log loss where all classes are seen. The two rules differ in the seen
    classes' part of gain and variance only, so that one follows from the other.
    """
    labels, local = outcome.labels, outcome.models[LOCAL]
    mass = checks.unseen_mass(POLICY, declared=classes, seen=len(np.unique(labels)))
    total = len(labels) + POLICY.prior_records
    best, kept = 0.0, LOCAL
    for item in outcome.evidence:
        model = outcome.models[item.name]
        right = checks.correctness(model.predictions, labels)
        right = right - checks.correctness(local.predictions, labels)
        nats = local.losses.mean(axis=0) - model.losses.mean(axis=0)
        now = checks.ACCURACY_OF_NAT * nats
        gain = item.gain + (1 - mass) * float(right.sum() - now.sum()) / total
        scatter = len(right) * float(right.var() - now.var())
        variance = item.sd**2 + (1 - mass) ** 2 * scatter / total**2
        lower = gain - POLICY.caution * max(variance, 0.0) ** 0.5
        if lower > best and (mass > 0 or item.nats >= 1):
            best, kept = lower, item.name
    return kept


def table(rows: Any) -> Iterator[str]:
    """Mean gain over local-only in points, and the worst run, by setting."""
    by_setting: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for row in rows:
        by_setting[row["setting"]].append(row)
    by_setting["all"] = [row for found in by_setting.values() for row in found]
    yield "| setting | runs | before | rule | always generated | best of all | worst before, now |"
    yield "|---|---|---|---|---|---|---|"
    for name, found in by_setting.items():
        columns = {
            key: 100 * np.array([row[key] for row in found])
            for key in ("before", "rule", "always", "best")
        }
        means = " | ".join(f"{values.mean():+.2f}" for values in columns.values())
        worst = f"{columns['before'].min():+.1f}, {columns['rule'].min():+.1f}"
        yield f"| {name} | {len(found)} | {means} | {worst} |"


if __name__ == "__main__":
    main()
