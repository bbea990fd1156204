"""What model selection costs and saves. Run with ``python -m bench.acceptance --home DIR``.

Plants are cut from real data sets (``bench.plants``), other sites release, a trained home's
generator answers, and the plant selects a model. Two ways to choose are compared, on test records
that no part of it saw: the plant's; always taking the generated head after local training. Finished
runs are kept in ``--results`` (JSON lines), so that a run goes on where it stopped.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from bench import plants
from bench.plants import DATASETS, QUICK, Floats, Ints, Plants
from bench.rows import Row, Rows
from bench.selected import right, selected
from bench.tables import markdown

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.names import GENERATED_FINETUNED, LOCAL
from wg_common.nets.encoder.module import load_encoder
from wg_server.generator.heads.generate import Generator, SiteRelease, generate, load_generator
from wg_server.site.home import ServerHome


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One kind of plant.

    Attributes:
        name: For the table.
        epsilon: Of every release.
        shots: Labels of a class.
        missing: Share of classes that the plant has never seen.
        same_family: Number of same-family sites.
        wrong: Whether the other sites' classes are permuted, so that their releases mislead.
        camera: Strength of the plant's own camera.
        uneven: Whether classes have 1 to 2 ``shots`` labels instead.
    """

    name: str
    epsilon: float = 4.0
    shots: int = 5
    missing: float = 0.0
    same_family: int = plants.SAME_FAMILY_SITES
    wrong: bool = False
    camera: float = 0.0
    uneven: bool = False


SETTINGS = (
    Setting(name="2 labels a class", shots=2),
    Setting(name="5 labels"),
    Setting(name="5 labels, epsilon 1", epsilon=1.0),
    Setting(name="20 labels", shots=20),
    Setting(name="5 labels, no sisters", epsilon=1.0, same_family=0),
    Setting(name="20 labels, no sisters", shots=20, same_family=0),
    Setting(name="5 labels, wrong sisters", wrong=True),
    Setting(name="20 labels, wrong sisters", shots=20, wrong=True),
    Setting(name="5 labels, epsilon 1, 30 % of classes missing", epsilon=1.0, missing=0.3),
    Setting(name="20 labels, 30 % missing", shots=20, missing=0.3),
    Setting(name="5 labels, 30 % missing, wrong sisters", missing=0.3, wrong=True),
    Setting(name="5 labels, 30 % missing, no sisters", missing=0.3, same_family=0),
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
    rows = Rows(options.results)
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
                scores = judge(generator, cut, setting, seed)
                rows.add({"key": key, "setting": setting.name} | scores)
            print(f"seed {seed}, {name}: done", flush=True)
    print("\n".join(table(rows.of())))


def judge(generator: Generator, cut: Plants, setting: Setting, seed: int) -> dict[str, float]:
    """Test accuracy minus local-only's under each way to choose, and of the best of all models."""
    rng = np.random.default_rng((seed, SETTINGS.index(setting), 77))
    k = len(cut.labels)
    x, y = _labelled(cut, setting, rng)
    d = cut.dimension
    own = plants.release(generator.parts.encoder, x[:, :d], y, cut.labels, setting.epsilon, rng)
    others = []
    for number, (sx, sy) in enumerate(cut.same_family[: setting.same_family]):
        said = np.random.default_rng((seed, 5)).permutation(k)[sy] if setting.wrong else sy
        release = plants.release(
            generator.parts.encoder, sx[:, :d], said, cut.labels, setting.epsilon, rng
        )
        others.append(SiteRelease(f"sister-{number}", release))
    made = generate(generator, own, others, cut.labels, samples=4, seed=seed)
    outcome = selected(
        made,
        Trunk(x),
        y,
        d,
        own.sum_std,
        others=bool(others),
        reference=LinearHead(rng.normal(size=(k, x.shape[1])), np.zeros(k)),
    )
    found = {name: right(model.head, cut.test) for name, model in outcome.models.items()}
    return {
        "rule": found[outcome.kept] - found[LOCAL],
        "always": found[GENERATED_FINETUNED] - found[LOCAL],
        "best": max(found.values()) - found[LOCAL],
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


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Mean gain over local-only in points, and the worst run, by setting."""
    by_setting: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_setting[row["setting"]].append(row)
    by_setting["all"] = list(rows)
    found = []
    for name, some in by_setting.items():
        columns = [100 * np.array([row[key] for row in some]) for key in ("rule", "always", "best")]
        means = (f"{values.mean():+.2f}" for values in columns)
        found.append((name, len(some), *means, f"{columns[0].min():+.1f}"))
    heads = ("setting", "runs", "selected", "always generated", "best of all", "worst selected")
    yield from markdown(heads, found)


if __name__ == "__main__":
    main()
