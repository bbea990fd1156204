"""Class names in other words, in Japanese, or hidden. Run with ``python -m bench.family_names``.

The operator has records of a kind of plant under names of its own; a plant of that kind names its
classes otherwise, and has five labels a class. ``--plants`` is a folder of cuts that
``bench.generator`` cached (``HOME/cache``), one for each data set: half of a plant's groups are the
operator's, the other half the plant's; the other data sets and the zoo's rendered families are what
it could be taken for. Printed are how often the family is found, and the accuracy of local-only, of
what is delivered, and of what the plant keeps.

``--cosines`` prints how near names of one class lie, and names of different classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from bench import plants
from bench.plants import Floats, Ints, Plants
from bench.rows import Row, write_table
from bench.selected import SELECTOR, right, selected
from bench.tables import Results, markdown

from wg_client.fitting.backbone import Trunk
from wg_client.fitting.linear_head import head_from_tensors
from wg_client.methods.names import LOCAL
from wg_common.catalogue import SAME_FAMILY
from wg_server.generator.families import heads as family_heads
from wg_server.generator.heads.generate import Generator, generate, load_generator
from wg_server.generator.prior import names
from wg_server.generator.prior.zoo_tasks import ZooTask, load_tasks
from wg_server.site.home import ServerHome
from wg_server.zoo.heads import fit_head
from wg_server.zoo.store import Zoo

WORDS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "neu_det": {
        "crazing": ("hairline cracks", "微細割れ"),
        "inclusion": ("foreign material", "異物介在"),
        "patches": ("blotches", "斑点"),
        "pitted_surface": ("pitting", "孔食"),
        "rolled-in_scale": ("mill scale", "圧延スケール"),
        "scratches": ("scratch marks", "線状キズ"),
    },
    "deeppcb_a": {
        "none": ("good board", "良品"),
        "open": ("broken trace", "断線"),
        "short": ("bridge between traces", "短絡"),
        "mousebite": ("mouse bite notch", "欠け"),
        "spur": ("protrusion", "突起"),
        "copper": ("spurious copper", "余剰銅"),
        "pin-hole": ("small hole", "ピンホール"),
    },
    "elpv_mono": {
        "functional(p<=1/3)": ("good cell", "良品"),
        "defective(p>=2/3)": ("faulty cell", "不良品"),
    },
    "bridge_crack": {
        "background": ("intact concrete", "健全部"),
        "crack": ("fissure", "ひび割れ"),
    },
    "trashnet": {
        "cardboard": ("carton", "段ボール"),
        "glass": ("glass bottle", "ガラス"),
        "metal": ("metal can", "金属"),
        "paper": ("paper sheet", "紙"),
        "plastic": ("plastic bottle", "プラスチック"),
        "trash": ("rubbish", "ごみ"),
    },
    "cifar10": {
        "airplane": ("aircraft", "飛行機"),
        "automobile": ("car", "自動車"),
        "bird": ("fowl", "鳥"),
        "cat": ("kitten", "猫"),
        "deer": ("stag", "鹿"),
        "dog": ("hound", "犬"),
        "frog": ("toad", "カエル"),
        "horse": ("stallion", "馬"),
        "ship": ("vessel", "船"),
        "truck": ("lorry", "トラック"),
    },
    "digits": {
        str(n): (word, japanese)
        for n, (word, japanese) in enumerate(
            zip(
                ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
                ["零", "一", "二", "三", "四", "五", "六", "七", "八", "九"],
                strict=True,
            )
        )
    },
}
"""Of each data set: the operator's name, another one, and a Japanese one."""
MANNERS = ("equal", "synonyms", "Japanese", "hidden")
_PENALTY = 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="a home with a zoo and a generator of images")
    parser.add_argument("--plants", type=Path, help="cuts that bench.generator cached")
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cosines", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.cosines:
        write_table("\n".join(cosines()), options.table)
        return
    home = ServerHome(options.home)
    generator = load_generator(home.generator)
    rendered = load_tasks(Zoo(home.zoo), generator.parts.encoder)
    cuts = {name: found for name in WORDS if (found := _cached(options.plants, name)) is not None}
    rows = [
        {"dataset": name, "cell": f"names {manner}", "scores": scores}
        for seed in range(options.seeds)
        for name in cuts
        for manner, scores in judge(generator, rendered, cuts, name, seed).items()
    ]
    write_table("\n".join(table(rows)), options.table)


def cosines() -> Iterator[str]:
    """Cosines of names of one class, and of different classes of one data set."""
    same, other = [], []
    for words in WORDS.values():
        if not all(map(names.says_something, words)):
            continue
        operator = names.vectors(list(words))
        for manner in (0, 1):
            theirs = names.vectors([pair[manner] for pair in words.values()])
            if operator is None or theirs is None:
                raise SystemExit("needs the extra 'text'")
            found = theirs @ operator.T
            same += np.diagonal(found).tolist()
            other += found[~np.eye(len(found), dtype=bool)].tolist()
    for what, values in (("one class", same), ("different classes", other)):
        yield f"{what}: {np.mean(values):.2f}, standard deviation {np.std(values):.2f}"


def _cached(folder: Path, name: str) -> Plants | None:
    """The first cut of a data set, under its own camera or another one."""
    for path in sorted(folder.glob(f"{name}-*.npz")):
        with np.load(path, allow_pickle=False) as archive:
            return plants.unpack(dict(archive))
    return None


def judge(
    generator: Generator,
    rendered: list[ZooTask],
    cuts: Mapping[str, Plants],
    name: str,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Scores of a plant under each manner of naming its classes."""
    data, d, k = cuts[name], cuts[name].dimension, len(cuts[name].labels)
    rng = np.random.default_rng((seed, 91))
    sides = {each: _halves(found, rng) for each, found in cuts.items()}
    own = [_task(each, _named(each, found), sides[each][0], found) for each, found in cuts.items()]
    parts = generator.parts
    parts = type(parts)(
        **{
            **{field: getattr(parts, field) for field in parts.__dataclass_fields__},
            "operator_families": family_heads.collect([*rendered, *own]),
        }
    )
    theirs = _named(name, data)
    x, y = sides[name][1]
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:5] for c in range(k)])
    x, y = x[rows], y[rows]
    scores = {}
    for manner in MANNERS:
        labels = theirs
        if manner in ("synonyms", "Japanese"):
            labels = tuple(WORDS[name][n][manner == "Japanese"] for n in theirs)
        elif manner == "hidden":
            labels = tuple(f"class-{c}" for c in range(k))
        drawn = np.random.default_rng((seed, 92))
        released = plants.release(generator.parts.encoder, x[:, :d], y, labels, 4.0, drawn)
        made = generate(Generator("", parts), released, [], labels, samples=2, seed=seed)
        first = made.candidates[0]
        outcome = selected(made, Trunk(x), y, d, own=True, others=False)
        scores[manner] = {
            "found": float(first.source == SAME_FAMILY),
            "delivered": right(head_from_tensors(first.tensors).padded(x.shape[1]), data.test),
            LOCAL: right(outcome.models[LOCAL].head, data.test),
            SELECTOR: right(outcome.models[outcome.kept].head, data.test),
        }
    return scores


def _named(name: str, data: Plants) -> tuple[str, ...]:
    """The operator's class names; a cut keeps their numbers alone."""
    known = list(WORDS[name])
    return tuple(known[int(label.removeprefix("class-"))] for label in data.labels)


def _halves(
    data: Plants, rng: np.random.Generator
) -> tuple[tuple[Floats, Ints], tuple[Floats, Ints]]:
    """The operator's half of a plant's groups, and the plant's."""
    x, y = data.own
    side = (rng.random(int(data.groups.max()) + 1) < 0.5)[data.groups]
    return (x[side], y[side]), (x[~side], y[~side])


def _task(name: str, labels: tuple[str, ...], part: tuple[Floats, Ints], data: Plants) -> ZooTask:
    x, y = part
    d, k = data.dimension, len(labels)
    weight, bias = fit_head(x[:, :d], y, k)
    wide = fit_head(x.astype(np.float32), y, k, penalty=_PENALTY)
    local = tuple(np.stack([each, each]).astype(np.float32) for each in wide)
    return ZooTask(
        key=name,
        family=name,
        labels=labels,
        features=x[:, :d].astype(np.float32),
        y=y,
        weight=weight.astype(np.float32),
        bias=bias.astype(np.float32),
        local=(local[0], local[1]),
    )


METHODS = (LOCAL, "delivered", SELECTOR)


def table(rows: list[Row]) -> Iterator[str]:
    """Accuracy for each manner, and what is kept against local-only."""
    results, found = Results(rows), []
    for manner in MANNERS:
        cell = f"names {manner}"
        shown = [f"{results.accuracy(cell, m)[0]:.3f}" for m in ("found", *METHODS)]
        size, gain = results.size(cell), results.paired(cell, SELECTOR, LOCAL)
        found.append((manner, "{}, {}".format(*size), *shown, str(gain)))
    heads = ("class names", "plants, sets", "found", *METHODS, "selector minus local-only")
    yield from markdown(heads, found)


if __name__ == "__main__":
    main()
