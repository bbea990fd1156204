"""Local rivals on texts that use MiniLM. Run with ``python -m bench.text_rivals``.

The plants, labels and test records are those of ``bench.text_plants`` at its seeds; no generator is
needed. ``logistic`` is logistic regression on the default trunk's 512 numbers, ``minilm`` the same
on MiniLM's 384. ``setfit`` trains its blocks on pairs of the plant's own texts first, minutes a
plant; ``setfit-head`` trains a linear map of its vectors in the same way, seconds a plant. With
``--home``, which has an encoder, ``local-only`` is the plant's own model, and ``beside`` the same
with MiniLM as its local encoder.

SetFit after Tunstall et al., *Efficient Few-Shot Learning Without Prompts*, 2022, arXiv 2209.11055:
for each text 20 pairs with one of its own class and 20 with one of another, cosines of pairs
towards 1 and 0 by squared error, one epoch in batches of 16 pairs, AdamW at 2e-5 with a linear
warm-up over a tenth of the steps; then logistic regression. Written from the paper; it has a larger
network there.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from bench.plants import Floats, Ints
from bench.rows import Row, Rows, judged, write_table
from bench.selected import own_folds, plant_trunk, right
from bench.tables import Results, markdown
from bench.text_plants import DATASETS, drawn, split
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from wg_client.fitting.local_models import fit_local
from wg_common.modalities.texts import Texts
from wg_common.nets import minilm
from wg_common.nets.encoder import sentences
from wg_common.nets.encoder.module import load_encoder
from wg_common.nets.minilm_encoder import MiniLmEncoder
from wg_server.site.home import ServerHome

SHOTS = (5, 20)
METHODS = ("logistic", "minilm", "setfit-head", "setfit")
LOCAL = ("local-only", "beside")
_PAIRS = 20
_BATCH = 16
_RATE = 2e-5
_HEAD_RATE = 1e-3
_CHUNK = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/text_rivals.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--sets", nargs="+", default=list(DATASETS))
    parser.add_argument("--shots", nargs="+", type=int, default=list(SHOTS))
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--home", type=Path, help="a server's home with an encoder of texts")
    options = parser.parse_args()
    methods = [*options.methods, *(LOCAL if options.home else ())]
    where = options.datasets, options.home
    jobs = [
        (f"{method} {name} {shots} {seed}", *where, name, shots, seed, method)
        for method in methods
        for shots in options.shots
        for seed in range(options.seeds)
        for name in options.sets
    ]
    found = judged(Rows(options.results), _job, jobs, 1)
    write_table("\n".join(table(found)), options.table)


def _job(job: tuple[str, Path, Path | None, str, int, int, str]) -> Row | None:
    key, datasets, home, name, shots, seed, method = job
    torch.set_num_threads(1)
    path = datasets / f"text_{name}" / "records.csv"
    if not path.is_file():
        return None
    labels, dealt, held = split(path, seed)
    y = np.array([label for _, label in dealt[0]], dtype=np.int64)
    rng = np.random.default_rng((seed, 83))
    rng.permutation(len(labels))  # as the cells of ``bench.text_plants`` draw what is missing
    rows = drawn(y, shots, np.zeros(0, np.int64), rng)
    own, tests = [dealt[0][row][0] for row in rows], [text for text, _ in held]
    truth = np.array([label for _, label in held])
    scores: dict[str, float] = {}
    plant = f"{name}/{seed}"
    row: Row = {"key": key, "dataset": name, "cell": f"n={shots}", "plant": plant, "scores": scores}
    if home is not None and method in LOCAL:
        scores[method] = _local(home, method, (own, y[rows]), (tests, truth), len(labels))
        return row
    if method == "logistic":
        x, z = (sentences.embed(texts).astype(np.float64) for texts in (own, tests))
    else:
        net = minilm.MiniLm()
        if method == "setfit":
            train(net, own, y[rows], seed)
        x, z = features(net, own), features(net, tests)
        if method == "setfit-head":
            turn = mapped(x, y[rows], seed)
            x, z = normalize(x @ turn), normalize(z @ turn)
    head = LogisticRegression(C=10.0, max_iter=1000).fit(x, y[rows])
    scores[method] = float((head.predict(z) == truth).mean())
    return row


def _local(
    home: Path,
    method: str,
    own: tuple[Sequence[str], Ints],
    test: tuple[Sequence[str], Ints],
    k: int,
) -> float:
    """Accuracy of the plant's own model of k classes, with MiniLM beside its encoder or without."""
    encoder = load_encoder(ServerHome(home).read_encoder())
    if method == "beside":
        encoder = encoder.with_beside(MiniLmEncoder())
    x, z = (encoder.encode_batched([np.array(text) for text in texts]) for texts, _ in (own, test))
    trunk = plant_trunk(encoder, x)
    head = fit_local(trunk.features, own[1], k, own_folds(own[1]), Texts.learners).head
    return right(trunk.outward(head), (z.astype(np.float64), test[1]))


def features(net: minilm.MiniLm, texts: Sequence[str]) -> Floats:
    """Unit vectors of texts, ``[n, 384]``."""
    with torch.inference_mode():
        parts = [net(_batch(texts[i : i + _CHUNK])).numpy() for i in range(0, len(texts), _CHUNK)]
    return np.concatenate(parts).astype(np.float64)


def _batch(texts: Sequence[str]) -> torch.Tensor:
    batch = torch.from_numpy(minilm.prepared([np.array(text) for text in texts]))
    return batch[:, : int((batch > 0).sum(dim=1).max())]


def pairs(y: Ints, rng: np.random.Generator) -> list[tuple[int, int, float]]:
    """Pairs of rows and whether they are of one class, in a random order."""
    found = []
    for row, label in enumerate(y):
        for same in (True, False):
            others = np.flatnonzero((y == label) == same)
            others = others[others != row]
            if len(others):
                found += [(row, int(o), float(same)) for o in rng.choice(others, _PAIRS)]
    return [found[place] for place in rng.permutation(len(found))]


def train(net: minilm.MiniLm, texts: Sequence[str], y: Ints, seed: int) -> None:
    """One epoch over pairs of texts, of all blocks."""

    def vectors(rows: Sequence[int]) -> torch.Tensor:
        found: torch.Tensor = net(_batch([texts[row] for row in rows]))
        return found

    _epoch(list(net.parameters()), vectors, y, _RATE, seed)


def mapped(x: Floats, y: Ints, seed: int) -> Floats:
    """A linear map ``[384, 384]`` of vectors, after one epoch over pairs; before, the identity."""
    turn, known = torch.eye(x.shape[1], requires_grad=True), torch.from_numpy(x).float()

    def vectors(rows: Sequence[int]) -> torch.Tensor:
        return torch.nn.functional.normalize(known[list(rows)] @ turn, dim=1)

    _epoch([turn], vectors, y, _HEAD_RATE, seed)
    return turn.detach().numpy().astype(np.float64)


def _epoch(
    parameters: Sequence[torch.Tensor],
    vectors: Callable[[Sequence[int]], torch.Tensor],
    y: Ints,
    rate: float,
    seed: int,
) -> None:
    todo = pairs(y, np.random.default_rng((seed, 94)))
    steps = -(-len(todo) // _BATCH)
    optimiser = torch.optim.AdamW(parameters, lr=rate)
    for step in range(steps):
        some = todo[step * _BATCH : (step + 1) * _BATCH]
        for group in optimiser.param_groups:
            done = (step + 1) / steps
            group["lr"] = rate * min(10 * done, (1 - done) / 0.9 + 1e-3)
        one, two, same = zip(*some, strict=True)
        found = vectors([*one, *two])
        cosine = (found[: len(some)] * found[len(some) :]).sum(dim=1)
        loss = (cosine - torch.tensor(same)).square().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()


def table(rows: Sequence[Row]) -> list[str]:
    """Accuracy of each method, on plants that all shown methods of a cell have."""
    plants: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        key = row["cell"], row["dataset"], row["plant"]
        plants.setdefault(key, {}).update(row["scores"])
    results = Results([{"cell": c, "dataset": d, "scores": s} for (c, d, _), s in plants.items()])
    lines = []
    for cell in results.cells:
        for method in (*METHODS, *LOCAL):
            scored = [s for (c, _, _), s in plants.items() if c == cell and method in s]
            if not scored:
                continue
            mean, error = results.accuracy(cell, method)
            difference = results.paired(cell, method, "logistic")
            shown = None if method == "logistic" else difference
            sets = 0 if difference is None else difference.sets
            lines.append(
                (cell, method, f"{len(scored)}, {sets}", f"{mean:.3f} ± {error:.3f}", shown)
            )
    found = list(markdown(("labels", "method", "plants, sets", "accuracy", "- logistic"), lines))
    gains = ((cell, results.paired(cell, "beside", "local-only")) for cell in results.cells)
    return [*found, "", *(f"{cell}: beside - local-only {gain}" for cell, gain in gains if gain)]


if __name__ == "__main__":
    main()
