"""Class names in other words, in Japanese, or hidden.

Run with ``python -m bench.family_names --home HOME --datasets SETS``. The operator has records of a
kind of plant under names of its own; a plant of that kind names its classes otherwise, and has five
labels a class. ``--home`` is a home whose zoo has the training part of data sets, as
``bench.family_sets --out DIR`` cuts them; ``--datasets`` is that folder, and plants are cut from
the other part. Nobody else has released. Printed are how often the family is found, and the
accuracy of local-only, of what is delivered, and of what the plant keeps.

``--cosines`` prints how near names of one class lie, and names of different classes.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from bench import installed, plants
from bench.networks import Cell, Cut, cut, labelled
from bench.rows import Row, write_table
from bench.selected import SELECTOR, family_at, inputs_for, plant_trunk, right, selected
from bench.tables import Results, markdown

from wg_client.fitting.linear_head import head_from_tensors
from wg_client.methods.names import LOCAL
from wg_common.catalogue import SAME_FAMILY
from wg_common.nets.encoder.module import Encoder, load_encoder
from wg_server.generator.heads.generate import Generator, generate
from wg_server.generator.prior import names
from wg_server.site.home import ServerHome

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
    "magnetic_tile": {
        "MT_Free": ("good tile", "良品"),
        "MT_Blowhole": ("gas hole", "気孔"),
        "MT_Break": ("chipped", "欠け"),
        "MT_Crack": ("fracture", "亀裂"),
        "MT_Fray": ("worn edge", "縁の摩耗"),
        "MT_Uneven": ("uneven surface", "表面むら"),
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
_CELL = Cell(name="", epsilon=4.0, shots=5, same_family=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path, help="its zoo has the sets' training part")
    parser.add_argument("--datasets", type=Path, help="folder of bench.family_sets")
    parser.add_argument("--table", type=Path, help="markdown file to write")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--cosines", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.cosines:
        write_table("\n".join(cosines()), options.table)
        return
    if options.home is None or options.datasets is None:
        parser.error("give --home and --datasets, or --cosines")
    home = ServerHome(options.home)
    generator, encoder = installed.heads(home), load_encoder(home.read_encoder())
    families = generator.parts.operator_families
    owned = [] if families is None else [each.removesuffix("-0") for each in families.heads]
    rows = [
        {"dataset": name, "cell": f"names {manner}", "scores": scores}
        for seed in range(options.seeds)
        for name in WORDS
        if name in owned and (options.datasets / name / "data.npz").is_file()
        for manner, scores in judge(
            generator, encoder, name, cut(options.datasets, name, seed, _CELL), seed
        )
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
        mean, spread = np.mean(values), np.std(values)
        yield f"{what}: {mean:.2f}, standard deviation {spread:.2f}, {len(values)} pairs"


def judge(
    generator: Generator, encoder: Encoder, name: str, data: Cut, seed: int
) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores of a plant under each manner of naming its classes."""
    k, d = len(data.labels), encoder.dimension
    records, y = labelled(data, _CELL)
    x = encoder.encode_local(records).astype(np.float64)
    trunk = plant_trunk(encoder, x)
    for manner in MANNERS:
        labels = data.labels
        if manner in ("synonyms", "Japanese"):
            labels = tuple(WORDS[name][n][manner == "Japanese"] for n in labels)
        elif manner == "hidden":
            labels = tuple(f"class-{c}" for c in range(k))
        drawn = np.random.default_rng((seed, 92))
        released = plants.release(encoder.id, x[:, :d], y, labels, _CELL.epsilon, drawn)
        made = generate(generator, released, [], labels, samples=2, seed=seed)
        family = family_at(encoder, x, trunk, k, records)
        test = inputs_for(made, encoder, k, data.test[0], data.own[0])
        outcome = selected(made, trunk, y, d, own=True, others=False, family=family)
        first = made.candidates[0]
        found = first.source == SAME_FAMILY
        if found:
            view, head = family(first.tensors)
            delivered = view.outward(head)
        else:
            delivered = head_from_tensors(first.tensors).padded(x.shape[1])
        scores = {
            name: right(model.head, (test, data.test[1])) for name, model in outcome.models.items()
        }
        yield (
            manner,
            {
                "found": float(found),
                "delivered": right(delivered, (test, data.test[1])),
                LOCAL: scores[LOCAL],
                SELECTOR: scores[outcome.kept],
            },
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
