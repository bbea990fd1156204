"""Compare the generator with baselines on real texts: ``python -m bench.text_plants --home HOME``.

``--home`` is a home whose zoo and generator are of texts (``zoo build --plan text``, ``train``).
Every development set of texts (``records.csv``) is cut into a plant, three other sites of its kind,
each with a simulated style of writing, and test records; nothing is fitted on any of them.

Baselines: logistic regression on the same features (``logistic``), the plant's own learners
(``local-only``), class names by cosine without a label (``names-cosine``), BLUP without names
(``blup-plain``) and with them (``blup-names``), and the mean of all sites' released class means
(``prototypes``). ``selector`` is the model that the plant selects. Rows are stored in
``--results``, and an interrupted run continues. Differences are paired, errors clustered by data
set.
"""

import argparse
import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from bench import installed, plants
from bench.plants import Floats, Ints
from bench.rows import Row, Rows, evaluate_jobs, split_by_cell, write_table
from bench.selected import SELECTOR, head_accuracy, plant_trunk, select_for_plant
from bench.tables import Results, markdown
from sklearn.linear_model import LogisticRegression

from wg_client.fitting.linear_head import LinearHead
from wg_client.methods.method_names import HANDED_ON, LOCAL_ONLY
from wg_common.catalogue import POSTERIOR_SOURCE
from wg_common.inference.posterior import SiteEvidence, posterior_from_tensors, posterior_head
from wg_common.modalities.texts import Texts, normalise_text
from wg_common.nets.encoder import sentence_encoder
from wg_common.nets.encoder.projected_trunk import Encoder
from wg_core.errors import NotAcceptedError
from wg_core.site.acceptance import AcceptanceConfig
from wg_server.generator.prior import class_names, evidence_pools
from wg_server.generator.prior.site_statistics import site_evidence
from wg_server.generator.weights.head_generation import HeadGenerator, generate_heads

_DOMAINS = (
    "banking",
    "credit_cards",
    "kitchen_and_dining",
    "travel",
    "utility",
    "small_talk",
    "meta",
)
_LOGS = "linux", "hadoop", "openstack", "hpc", "bgl", "android", "spark"
DATASETS = (*map("clinc_{}".format, _DOMAINS), "banking77", *map("log_{}".format, _LOGS))
CLASSES = 15
SITES = 3
TESTS = 300
_SITE_EACH = 40
_BARE_TEXTS = 10  # Records a class of a plant without labels


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Configuration of a plant and its releases.

    Attributes:
        name: Title in tables.
        epsilon: Epsilon of every release.
        shots: Number of labels per class at the plant.
        missing: Share of classes that the plant has never seen.
        labelled: True if the plant has labels.
        named: True if class names are meaningful.
        others: True if other sites have released.
    """

    name: str
    epsilon: float
    shots: int
    missing: float = 0.0
    labelled: bool = True
    named: bool = True
    others: bool = True


def _cell(title: str, epsilon: float, shots: int, **rest: bool | float) -> Cell:
    return Cell(name=f"{title} eps={epsilon:g} n={shots}", epsilon=epsilon, shots=shots, **rest)  # type: ignore[arg-type]


CELLS = (
    *(
        cell
        for e in (1.0, 4.0)
        for cell in (
            _cell("S1 few labels", e, 5),
            _cell("S1 few labels", e, 20),
            _cell("S2 classes never seen", e, 5, missing=0.3),
            _cell("S3 no labels", e, 0, labelled=False),
            _cell("S1 names hidden", e, 5, named=False),
        )
    ),
    _cell("S1 few labels, alone", 4.0, 5, others=False),
    _cell("S2 classes never seen, alone", 4.0, 5, missing=0.3, others=False),
    _cell("S3 no labels, alone", 4.0, 0, labelled=False, others=False),
)


@dataclass(frozen=True, slots=True, eq=False)
class TextPlants:
    """Features ``[n, D]`` and classes ``[n]`` of a plant, other sites and test records.

    Attributes:
        labels: Class names.
        parts: Features and classes of the plant, then of each other site.
        test: Features and classes of the test records.
        vectors: Sentence vectors of the test records, ``[n, 512]``.
    """

    labels: tuple[str, ...]
    parts: tuple[tuple[Floats, Ints], ...]
    test: tuple[Floats, Ints]
    vectors: Floats


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--datasets", type=Path, default=Path("../shared/datasets"))
    parser.add_argument("--results", type=Path, default=Path("bench/results/texts.jsonl"))
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    identity = installed.load_cached(options.home)[0].id[:16]
    jobs = [
        (f"{identity} {name} {seed}", options.home, options.datasets, name, seed)
        for name in DATASETS
        for seed in range(options.seeds)
    ]
    found = evaluate_jobs(Rows(options.results), _job, jobs, options.processes)
    write_table("\n".join(table(list(split_by_cell(found)))), options.table)


def _job(job: tuple[str, Path, Path, str, int]) -> Row | None:
    key, folder, datasets, name, seed = job
    torch.set_num_threads(1)
    path = datasets / f"text_{name}" / "records.csv"
    if not path.is_file():
        return None
    generator, encoder = installed.load_cached(folder)
    found = cut_texts(encoder, path, seed)
    scores = {cell.name: evaluate_plant(generator, encoder, found, cell, seed) for cell in CELLS}
    return {"key": key, "dataset": name, "cell": "", "scores": scores}


def split_texts(
    path: Path, seed: int
) -> tuple[tuple[str, ...], list[list[tuple[str, int]]], list[tuple[str, int]]]:
    """Return class names, texts with classes of plant and other sites, and those of the tests."""
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    rng = np.random.default_rng((seed, 81))
    train = [row for row in rows if row["split"] == "0"]
    test = [row for row in rows if row["split"] == "1"]
    counts = {name: [0, 0] for name in {row["label"] for row in rows}}
    for row in rows:
        counts[row["label"]][int(row["split"])] += 1
    usable = sorted(name for name, (many, few) in counts.items() if many >= 3 + SITES and few >= 1)
    labels = tuple(usable[i] for i in np.sort(rng.permutation(len(usable))[:CLASSES]))
    number = {name: row for row, name in enumerate(labels)}
    dealt: list[list[tuple[str, int]]] = [[] for _ in range(1 + SITES)]
    for name in labels:
        mine = [normalise_text(row["text"]) for row in train if row["label"] == name]
        order = rng.permutation(len(mine))
        own = max(len(mine) // 2, 3)
        for place, share in enumerate([order[:own], *np.array_split(order[own:], SITES)]):
            each = _SITE_EACH if place else len(share)
            dealt[place] += [(mine[i], number[name]) for i in share[:each]]
    kept = [test[i] for i in rng.permutation(len(test)) if test[i]["label"] in number][:TESTS]
    return labels, dealt, [(normalise_text(row["text"]), number[row["label"]]) for row in kept]


def cut_texts(encoder: Encoder, path: Path, seed: int) -> TextPlants:
    """Cut a data set into a plant, other sites and test records, and encode them."""
    labels, dealt, held = split_texts(path, seed)

    def encoded(some: Sequence[tuple[str, int]], site: int) -> tuple[Floats, Ints]:
        records = [np.array(text) for text, _ in some]
        if site:
            records = Texts().augment_site(records, 0.7, np.random.default_rng((seed, 82, site)))
        x = encoder.encode_local_batched(records).astype(np.float64)
        return x, np.array([label for _, label in some], dtype=np.int64)

    parts = tuple(encoded(some, site) for site, some in enumerate(dealt))
    vectors = sentence_encoder.embed_sentences([text for text, _ in held]).astype(np.float64)
    return TextPlants(labels, parts, encoded(held, 0), vectors)


def as_plants(encoder: Encoder, root: Path, name: str, seed: int) -> plants.Plants | None:
    """Cut a data set of texts into ``bench.plants.Plants``; None if it is missing."""
    path = root / f"text_{name}" / "records.csv"
    if not path.is_file():
        return None
    data = cut_texts(encoder, path, seed)
    own, *others = data.parts
    groups = np.arange(len(own[1]))
    return plants.Plants(data.labels, encoder.dimension, own, tuple(others), data.test, groups)


def evaluate_plant(
    generator: HeadGenerator, encoder: Encoder, data: TextPlants, cell: Cell, seed: int
) -> dict[str, float]:
    """Measure the accuracy of each model on the plant's test records."""
    rng = np.random.default_rng((seed, 83))
    k, d = len(data.labels), encoder.dimension
    labels = data.labels if cell.named else tuple(f"class-{c}" for c in range(k))
    gone = rng.permutation(k)[: round(cell.missing * k)]
    rows = draw_rows(data.parts[0][1], cell.shots or _BARE_TEXTS, gone, rng)
    x, y = data.parts[0][0][rows], data.parts[0][1][rows]
    known = y if cell.labelled else np.full(len(y), -1)
    own = plants.simulate_release(encoder.id, x[:, :d], known, labels, cell.epsilon, rng)
    others = [
        plants.simulate_release(encoder.id, sx[:, :d], sy, labels, cell.epsilon, rng)
        for sx, sy in (data.parts[1:] if cell.others else ())
    ]
    scores: dict[str, float] = {}
    for end, parts in (
        ("names", generator.package),
        ("plain", replace(generator.package, name_regression=None)),
    ):
        pools = evidence_pools.pools_of_releases(parts.priors, own, others)
        made = generate_heads(HeadGenerator("", parts), pools, labels)
        tensors = next(c.tensors for c in made if c.source == POSTERIOR_SOURCE)
        posterior = posterior_from_tensors(tensors, k, d)
        finished = LinearHead(*posterior_head(posterior, x[:, :d], known)).pad_features(x.shape[1])
        scores[f"blup-{end}"] = head_accuracy(finished, data.test)
        if end == "names":
            try:
                policy = AcceptanceConfig(standard_errors=Texts.default_standard_errors)
                outcome = select_for_plant(
                    made,
                    plant_trunk(encoder, x),
                    known,
                    d,
                    others_released=bool(others),
                    policy=policy,
                )
            except NotAcceptedError:  # no label, and nobody else has released
                continue
            heads = {name: model.head for name, model in outcome.models.items()}
            scores |= {name: head_accuracy(head, data.test) for name, head in heads.items()}
            scores[SELECTOR] = scores[outcome.kept_name]
    if cell.labelled:
        model = LogisticRegression(C=10.0, max_iter=1000).fit(x, y)
        scores["logistic"] = float((model.predict(data.test[0]) == data.test[1]).mean())
    if others or cell.labelled:
        evidence = [site_evidence(each, labels) for each in (own, *others)]
        scores["prototypes"] = head_accuracy(
            nearest_mean_head(evidence).pad_features(x.shape[1]), data.test
        )
    found = class_names.name_vectors(data.labels) if cell.named else None
    if found is not None:
        nearest = (data.vectors @ found.T).argmax(axis=1)
        scores["names-cosine"] = float((nearest == data.test[1]).mean())
    return scores


def draw_rows(y: Ints, shots: int, unseen_classes: Ints, rng: np.random.Generator) -> Ints:
    """Draw rows of at most ``shots`` records of each class that is not in ``unseen_classes``."""
    rows = [
        rng.permutation(np.flatnonzero(y == label))[:shots]
        for label in np.unique(y)
        if label not in unseen_classes
    ]
    return np.concatenate(rows)


def nearest_mean_head(evidence: Sequence[SiteEvidence]) -> LinearHead:
    """Nearest-mean head from class means, pooled over sites with inverse-variance weights."""
    weight = (
        np.stack([site.presence_probabilities / (site.noise_variances + 0.01) for site in evidence])
        + 1e-9
    )
    means = np.einsum("sk,skd->kd", weight, np.stack([site.means for site in evidence]))
    means /= weight.sum(axis=0)[:, None]
    return LinearHead(means, -0.5 * (means**2).sum(axis=1))


METHODS = (
    "names-cosine",
    "logistic",
    LOCAL_ONLY,
    "prototypes",
    "blup-plain",
    "blup-names",
    HANDED_ON,
    SELECTOR,
)


def table(rows: Sequence[Row]) -> Iterator[str]:
    """Tabulate accuracy of each method, and the selector minus the best method without names."""
    results, found = Results(rows), []
    for cell in (cell for cells in results.scenarios.values() for cell in cells):
        shown = [f"{results.accuracy(cell, m)[0]:.3f}".replace("nan", "") for m in METHODS]
        count = "{}, {}".format(*results.size(cell))
        against = [
            str(results.paired_difference(cell, SELECTOR, bar) or "")
            for bar in ("logistic", LOCAL_ONLY, "names-cosine", "blup-plain")
        ]
        against.append(str(results.paired_difference(cell, "blup-names", "names-cosine") or ""))
        found.append((cell, count, *shown, *against))
    bars = ("- logistic", "- local-only", "- names-cosine", "- blup-plain")
    yield from markdown(
        (
            "cell",
            "plants, sets",
            *METHODS,
            *(f"selector {bar}" for bar in bars),
            "blup-names - names-cosine",
        ),
        found,
    )


if __name__ == "__main__":
    main()
