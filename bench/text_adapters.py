"""Whether parts of a transformer pay. Run with ``python -m bench.text_adapters``.

The gate of generated parts of MiniLM (``wg_common.nets.minilm``: norms and low rank of its upper
three blocks). For each domain of CLINC150, eight intents with 40 records each train an adapter; the
other seven are a plant's, with five labels each. If generation were perfect, it would give the
plant the adapter that was trained on its own domain. So what can be won by conditioning is this
adapter (``own``) minus one that is the same for all plants (``shared``), with the same head fitted
on both; ``heads`` is the untouched network. ``own`` has trained for 40 steps, ``shared`` on all
seven domains in turn for 280, as many as all ``own`` together (``shared, 40 steps`` is the same run
on its way). ``others`` is of the six other domains for 40 steps: what a server can have that knows
nothing of the domain. ``encoder`` is a head on the default trunk of texts.

Adapters learn by the supervised contrastive loss (Khosla et al. 2020), batches within a domain, at
four times the rate of a plant's fine-tuning (docs/decisions/0085 says why). Nothing is chosen on
these sets. Errors are over domains.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from bench.plants import Floats, Ints
from bench.rows import Row, Rows, judged, write_table
from bench.tables import Results, markdown
from sklearn.linear_model import LogisticRegression

from wg_client.fitting.network_tuning import LEARNING_RATE
from wg_common.modalities.texts import plain
from wg_common.nets import minilm
from wg_common.nets.encoder import sentences

DOMAINS = (
    *("banking", "credit_cards", "kitchen_and_dining", "meta", "small_talk", "travel", "utility"),
)
RATE = 4 * LEARNING_RATE
STEPS = 40
SHOTS = 5
_TRAINED = 8  # Of fifteen classes
_CLASSES, _EACH = 8, 3  # Of a batch
_DRAWS = 10  # Of a plant's labels, averaged
_RECORDS = 40  # Of a class of a part, at most: those of a plant are drawn from so many
_CHUNK = 64
_TEMPERATURE = 0.1
SHORT = f"shared, {STEPS} steps"
ARMS = ("heads", "shared", "own", "others")
ROWS = ("encoder", "heads", "others", SHORT, "shared", "own")


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Texts of some classes: what the frozen blocks make of them, and classes."""

    x: torch.Tensor
    there: torch.Tensor
    y: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """A domain cut by classes: what adapters learn from; a plant's records, and its tests."""

    training: Part
    plant: Part
    test: Part
    texts: tuple[list[str], list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/text_adapters.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    options = parser.parse_args()
    rows = Rows(options.results)
    jobs = [
        (f"{arm} {domain} {seed}", options.datasets, arm, domain, seed)
        for seed in range(options.seeds)
        for arm in options.arms
        for domain in (("all",) if arm == "shared" else DOMAINS)
    ]
    found = judged(rows, _job, jobs, 1)
    write_table("\n".join(table(found)), options.table)


def _job(job: tuple[str, Path, str, str, int]) -> Row | None:
    key, datasets, arm, domain, seed = job
    torch.set_num_threads(1)
    needed = (domain,) if arm in ("heads", "own") else DOMAINS
    if not all(_file(datasets, name).is_file() for name in needed):
        return None
    scores = _scores(datasets, arm, domain, seed)
    return {"key": key, "dataset": domain, "cell": "", "scores": scores}


def _scores(datasets: Path, arm: str, domain: str, seed: int) -> dict[str, float]:
    """Accuracy by row of the table and domain."""
    if arm == "shared":
        domains = [cut(datasets, name, seed) for name in DOMAINS]
        stops = (STEPS, STEPS * len(domains))
        nets = adapted(domains, stops[1], seed, stops)
        return {
            f"{row}/{name}": judge(nets[stop], one, seed)
            for stop, row in zip(stops, (SHORT, "shared"), strict=True)
            for name, one in zip(DOMAINS, domains, strict=True)
        }
    own = cut(datasets, domain, seed)
    if arm == "heads":
        vectors = [sentences.embed(texts).astype(np.float64) for texts in own.texts]
        untouched = judge(minilm.MiniLm(), own, seed)
        return {f"heads/{domain}": untouched, f"encoder/{domain}": _few(vectors, own, seed)}
    some = [own] if arm == "own" else [cut(datasets, n, seed) for n in DOMAINS if n != domain]
    return {f"{arm}/{domain}": judge(adapted(some, STEPS, seed)[STEPS], own, seed)}


def cut(datasets: Path, name: str, seed: int) -> Domain:
    """Fifteen classes of a data set: eight for adapters, seven a plant's."""
    with _file(datasets, name).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rng = np.random.default_rng((seed, 91))
    permuted = rng.permutation(sorted({row["label"] for row in rows}))
    labels = [str(label) for label in permuted[:15]]
    first, second = labels[:_TRAINED], labels[_TRAINED:]

    def part(split: str, classes: Sequence[str]) -> tuple[Part, list[str]]:
        some = [
            (plain(row["text"]), place)
            for place, label in enumerate(classes)
            for row in [row for row in rows if (row["split"], row["label"]) == (split, label)][
                :_RECORDS
            ]
        ]
        texts = [text for text, _ in some]
        return _part(texts, np.array([place for _, place in some], dtype=np.int64)), texts

    training, _ = part("0", first)
    plant, own = part("0", second)
    test, tests = part("1", second)
    return Domain(training, plant, test, (own, tests))


def _file(datasets: Path, name: str) -> Path:
    return datasets / f"text_clinc_{name}" / "records.csv"


def _part(texts: Sequence[str], y: Ints) -> Part:
    batch = torch.from_numpy(minilm.prepared([np.array(text) for text in texts]))
    used = int((batch > 0).sum(dim=1).max())
    x = torch.zeros(len(batch), used, minilm.FEATURES)
    for start in range(0, len(batch), _CHUNK):
        found, _ = minilm.below(batch[start : start + _CHUNK])
        x[start : start + _CHUNK, : found.shape[1]] = found
    return Part(x, batch[:, :used] > 0, y)


def adapted(
    domains: Sequence[Domain], steps: int, seed: int, stops: Sequence[int] = ()
) -> dict[int, minilm.MiniLm]:
    """A network trained on domains in turn, at each number of steps that is asked for."""
    rng = np.random.default_rng((seed, 92))
    net = minilm.MiniLm()
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=1e-4)
    found = {}
    for step in range(steps):
        part = domains[step % len(domains)].training
        classes = rng.permutation(int(part.y.max()) + 1)[:_CLASSES]
        rows = np.concatenate(
            [rng.permutation(np.flatnonzero(part.y == c))[:_EACH] for c in classes]
        )
        features = net.above(*_trimmed(part, rows))
        loss = _contrastive(features, torch.from_numpy(part.y[rows]))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step + 1 in (*stops, steps):
            copy = minilm.MiniLm()
            copy.load_state_dict(net.state_dict())
            found[step + 1] = copy
    return found


def _contrastive(features: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Khosla et al. 2020, the mean over positives outside of the logarithm."""
    alone = torch.eye(len(y), dtype=torch.bool)
    logits = (features @ features.T / _TEMPERATURE).masked_fill(alone, -1e9)
    same = ((y[:, None] == y) & ~alone).float()
    return -((F.log_softmax(logits, dim=1) * same).sum(dim=1) / same.sum(dim=1)).mean()


def judge(net: minilm.MiniLm, domain: Domain, seed: int) -> float:
    """Accuracy on the plant's tests of a head on few labels."""
    vectors = []
    with torch.inference_mode():
        for part in (domain.plant, domain.test):
            chunks = np.array_split(np.arange(len(part.y)), max(len(part.y) // 64, 1))
            parts = [net.above(*_trimmed(part, rows)).numpy() for rows in chunks]
            vectors.append(np.concatenate(parts).astype(np.float64))
    return _few(vectors, domain, seed)


def _few(vectors: Sequence[Floats], domain: Domain, seed: int) -> float:
    rng = np.random.default_rng((seed, 93))
    x, y = vectors[0], domain.plant.y
    found = []
    for _ in range(_DRAWS):
        rows = np.concatenate(
            [rng.permutation(np.flatnonzero(y == c))[:SHOTS] for c in np.unique(y)]
        )
        head = LogisticRegression(C=10.0, max_iter=1000).fit(x[rows], y[rows])
        found.append(float((head.predict(vectors[1]) == domain.test.y).mean()))
    return float(np.mean(found))


def _trimmed(part: Part, rows: Ints) -> tuple[torch.Tensor, torch.Tensor]:
    chosen = torch.from_numpy(rows)
    there = part.there[chosen]
    used = int(there.sum(dim=1).max())
    return part.x[chosen, :used], there[:, :used]


def table(rows: Sequence[Row]) -> list[str]:
    """Accuracy by domain and row, their mean over domains, and paired differences."""
    plants: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        seed = row["key"].rpartition(" ")[2]
        for name, value in row["scores"].items():
            method, _, domain = name.partition("/")
            plants.setdefault((domain, seed), {})[method] = value
    cell = f"n={SHOTS}"
    results = Results([{"cell": cell, "dataset": d, "scores": s} for (d, _), s in plants.items()])
    lines: list[tuple[object, ...]] = []
    for domain in DOMAINS:
        of = Results(
            [
                {"cell": cell, "dataset": d, "scores": s}
                for (d, _), s in plants.items()
                if d == domain
            ]
        )
        lines.append((domain, *(f"{of.accuracy(cell, m)[0]:.3f}" for m in ROWS)))
    lines.append(("mean", *(f"{results.accuracy(cell, m)[0]:.3f}" for m in ROWS)))
    lines.append(("own minus it", *(results.paired(cell, "own", m) for m in ROWS[:-1]), ""))
    return list(markdown(("domain", *ROWS), lines))


if __name__ == "__main__":
    main()
