"""A quality report: opted into, charged first, about one package, and nothing else."""

from __future__ import annotations

import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.client.cli.conftest import Json, run_here
from tests.client.conftest import LABELS, WITNESS, MakePlant, TestPlant, write_npz

from wg_audit import answers, verification
from wg_audit.report import render
from wg_client.fitting.linear_head import LinearHead
from wg_client.release import quality
from wg_client.release.quality import answer_quality
from wg_client.selection.apply import apply_package
from wg_common import weights_file
from wg_core import atomic, translations
from wg_core import snapshot as snapshots
from wg_core.errors import (
    ApprovalPending,
    BudgetExceeded,
    ConfigError,
    DecodeError,
    PolicyRefused,
    RefusedError,
    VerificationError,
)
from wg_core.language import ENGLISH
from wg_core.ledger import verify
from wg_core.ledger.store import Ledger
from wg_core.release import answer_time
from wg_core.release.budget import read_spend
from wg_core.release.query import STEPS, answer_query
from wg_core.site.config import PrivacyConfig, UnitRule
from wg_core.wire import canonical, protocol, quality_file, signing
from wg_core.wire.protocol import QualityQuery
from wg_core.wire.quality_file import Counts, QualityManifest

ALLOWED = PrivacyConfig(
    answer_slot_seconds=0.05,
    message_types=(
        protocol.QUERY_STATISTICS,
        protocol.TRAIN_FINETUNE,
        protocol.EVALUATE_METRICS,
    ),
)
BAD = LinearHead(np.zeros((3, 64)), np.array([0.0, 0.0, 9.0]))
"""Calls every record by the third label."""


def _deliver(plant: TestPlant, head: LinearHead, **changes: Any) -> QualityQuery:
    """A package that came and waits, and a question about it."""
    package = plant.package({"good": (head, "network"), "bad": (BAD, "diffusion")}, **changes)
    return _about(plant, package)


def _about(plant: TestPlant, package: bytes, **changes: Any) -> QualityQuery:
    delivery = secrets.token_hex(16)
    atomic.write_bytes(plant.home.waiting / f"{delivery}.wgw", package)
    base = plant.query()
    fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
    manifest, _ = weights_file.decode(package, plant.server_key.public_key())
    query = QualityQuery(
        **fields,
        delivery_id=delivery,
        package_id=manifest.package_id,
        package_sha256=canonical.sha256_hex(package),
    )
    return replace(query, **changes)


def _opened(plant: TestPlant, data: bytes) -> tuple[QualityManifest, Counts]:
    covered = quality_file.decode_covered(data)
    verify.verify_covered(
        covered,
        ledger_origin=plant.origin,
        ledger_key=signing.public_from_bytes(plant.ledger_key),
        witness_name=WITNESS,
        witness_key=plant.witness.key.public_key(),
        check=verify.check_quality,
    )
    key = signing.load(plant.home.signing_key).public_key()
    return quality_file.decode_report(covered.release, key)


def _spent(plant: TestPlant) -> tuple[int, int]:
    spend = read_spend(plant.home, plant.config)
    return spend.charges, spend.entries


def _exact(exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
    return exact


def test_it_is_refused_unless_the_plant_opted_in(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant()
    before = _spent(plant)
    with pytest.raises(PolicyRefused, match=r"evaluate\.metrics"):
        answer_quality(plant.home, _deliver(plant, good_head), witness=plant.witness)
    assert _spent(plant) == before and plant.witness.asked == 0


def test_a_report_is_signed_covered_and_counts_right_answers(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant({0: 8, 1: 5}, privacy=ALLOWED)
    query = _deliver(plant, good_head)
    data = answer_quality(plant.home, query, witness=plant.witness, sampler=_exact)
    manifest, counts = _opened(plant, data)
    assert manifest.candidates == ("good", "bad") and manifest.site == plant.config.site
    assert manifest.package_sha256 == query.package_sha256
    assert manifest.purpose == protocol.quality_purpose(query.package_sha256, "test")
    assert counts.labelled == 13 and counts.right["bad"] == 0 and counts.right["good"] > 9
    assert counts.std == pytest.approx(3.730 * np.sqrt(3), abs=0.01)


def test_the_charge_is_on_disk_before_noise_is_drawn_and_steps_come_in_order(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant(privacy=ALLOWED)
    seen: list[int] = []
    steps: list[str] = []

    def sampler(exact: NDArray[np.int64], sigma: float) -> NDArray[np.int64]:
        with Ledger.open(plant.home.ledger) as ledger:
            seen.append(ledger.spent(plant.config.data.name).charges)
        return exact

    answer_quality(
        plant.home,
        _deliver(plant, good_head),
        witness=plant.witness,
        sampler=sampler,
        on_step=steps.append,
    )
    assert seen == [1] and steps == list(STEPS)


def test_a_repeated_or_equal_question_gets_the_same_bytes_and_another_package_its_own(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant(privacy=ALLOWED)
    query = _deliver(plant, good_head)
    first = answer_quality(plant.home, query, witness=plant.witness)
    assert answer_quality(plant.home, query, witness=plant.witness) == first
    other_id = replace(query, request_id=secrets.token_hex(16))
    assert answer_quality(plant.home, other_id, witness=plant.witness) == first
    assert _spent(plant)[0] == 1
    second = answer_quality(plant.home, _deliver(plant, good_head), witness=plant.witness)
    assert second != first and _spent(plant)[0] == 2
    _opened(plant, second)


def test_a_package_that_was_applied_is_found(make_plant: MakePlant, good_head: LinearHead) -> None:
    plant = make_plant(privacy=ALLOWED)
    query = _deliver(plant, good_head)
    path = plant.home.waiting / f"{query.delivery_id}.wgw"
    apply_package(plant.home, path)
    path.unlink()
    _opened(plant, answer_quality(plant.home, query, witness=plant.witness))


def test_it_is_charged_on_the_one_budget(make_plant: MakePlant, good_head: LinearHead) -> None:
    plant = make_plant(privacy=replace(ALLOWED, cap_epsilon="1.2", max_request_epsilon="1.2"))
    answer_query(plant.home, plant.query(epsilon="1"), witness=plant.witness)
    before = _spent(plant)
    with pytest.raises(BudgetExceeded):
        answer_quality(plant.home, _deliver(plant, good_head), witness=plant.witness)
    assert _spent(plant) == before


@pytest.mark.parametrize(
    "changes",
    [
        {"epsilon": "5"},
        {"epsilon": "nan"},
        {"delta": "1e-4"},
        {"site": "plant-b"},
        {"encoder": "00" * 32},
        {"expires": 1},
        {"request_id": "../../x"},
        {"delivery_id": "../../x"},
        {"package_id": "../../x"},
        {"package_sha256": "x"},
        {"purpose": "a\nb"},
        {"purpose": "p" * 1001},
    ],
)
def test_a_question_outside_the_policy_touches_nothing(
    make_plant: MakePlant, good_head: LinearHead, changes: dict[str, Any]
) -> None:
    plant = make_plant(privacy=ALLOWED)
    before, query = _spent(plant), replace(_deliver(plant, good_head), **changes)
    with pytest.raises(PolicyRefused):
        answer_quality(plant.home, query, witness=plant.witness)
    assert _spent(plant) == before and plant.witness.asked == 0


def test_a_package_that_cannot_be_counted_costs_nothing(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant(privacy=ALLOWED)
    query = _deliver(plant, good_head)
    many = {f"c{index}": (BAD, "diffusion") for index in range(65)}
    wide = LinearHead(np.zeros((3, 9)), np.zeros(3))
    cases: list[tuple[QualityQuery, type[Exception]]] = [
        (replace(query, package_sha256="00" * 32), VerificationError),
        (replace(query, package_id="00" * 16), VerificationError),
        (
            replace(query, package_id="00" * 16, delivery_id=secrets.token_hex(16)),
            ConfigError,  # it is not there
        ),
        (_deliver(plant, good_head, site="plant-b"), VerificationError),
        (_deliver(plant, good_head, labels=("a", "b", "c")), VerificationError),
        (_about(plant, plant.package({"kin": (BAD, "kin")})), DecodeError),
        (_about(plant, plant.package({"mean": (BAD, "posterior")})), DecodeError),
        (_about(plant, plant.package(many)), DecodeError),
        (_about(plant, plant.package({"x" * 101: (BAD, "diffusion")})), DecodeError),
        (_about(plant, plant.package({"wide": (wide, "diffusion")})), DecodeError),
        (
            _about(plant, plant.package({"net": (BAD, "base")}, architecture="cnn-s")),
            VerificationError,
        ),
    ]
    before = _spent(plant)
    for asked, error in cases:
        with pytest.raises(error):
            answer_quality(plant.home, asked, witness=plant.witness)
    assert _spent(plant) == before and plant.witness.asked == 0


def test_a_plant_without_labels_answers_like_any_other(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    sizes = []
    for name, labelled in (("plant-a", True), ("plant-b", False)):
        plant = make_plant({0: 4, 1: 4}, privacy=ALLOWED, name=name, frozen=False)
        if not labelled:
            with np.load(plant.config.data.path) as file:
                content = dict(file)
            np.savez(plant.config.data.path, **{**content, "y": np.full(8, -1)})
        plant.freeze()
        query = _deliver(plant, good_head, labels=plant.config.data.labels)
        data = answer_quality(plant.home, query, witness=plant.witness, sampler=_exact)
        _, counts = _opened(plant, data)
        assert counts.labelled == (8 if labelled else 0)
        sizes.append((len(data), *_spent(plant), plant.witness.asked))
    assert sizes[0] == sizes[1]


def test_units_count_by_their_rule(make_plant: MakePlant, good_head: LinearHead) -> None:
    cases: list[tuple[str, UnitRule, int, int]] = [
        ("plant-a", "weight", 1, 6),
        ("plant-b", "cap", 2, 12),
    ]
    for name, rule, cap, labelled in cases:
        privacy = replace(ALLOWED, unit_rule=rule, unit_cap=cap)
        plant = make_plant(privacy=privacy, name=name, unit_column="group", counts={0: 6, 1: 6})
        query = _deliver(plant, good_head)
        data = answer_quality(plant.home, query, witness=plant.witness, sampler=_exact)
        manifest, counts = _opened(plant, data)
        assert counts.labelled == labelled
        assert manifest.sensitivity_squared == str(3 * (cap << 10) ** 2)
        assert verification.verify(plant.home.root).accounts


def test_a_person_decides_on_a_report_and_on_nothing_else_of_that_request(
    make_plant: MakePlant, good_head: LinearHead, capfd: pytest.CaptureFixture[str]
) -> None:
    here: Json = run_here(capfd)
    plant = make_plant({0: 2, 1: 2}, privacy=replace(ALLOWED, approve="human"))
    query = _deliver(plant, good_head)
    with pytest.raises(ApprovalPending):
        answer_quality(plant.home, query, witness=plant.witness)
    home = ("--home", plant.home.root)
    (row,) = here("requests", "list", *home)["requests"]
    assert row["kind"] == "quality" and query.package_sha256 in row["purpose"]
    shown = here("requests", "show", *home, query.request_id)
    assert shown["would_leave"] == {"integers": 3, "candidates": ["good", "bad"]}
    assert shown["cost"]["allowed"]
    here("requests", "approve", *home, query.request_id, "--by", "QA lead")
    # the same request as a release of statistics, with whatever purpose, was not approved
    for purpose in (query.purpose, protocol.quality_purpose(query.package_sha256, "test")):
        asked = plant.query(request_id=query.request_id, purpose=purpose)
        with pytest.raises(PolicyRefused):
            answer_query(plant.home, asked, witness=plant.witness)
    other = _deliver(plant, good_head)
    with pytest.raises(PolicyRefused, match="approved was"):
        answer_quality(
            plant.home, replace(other, request_id=query.request_id), witness=plant.witness
        )
    _opened(plant, answer_quality(plant.home, query, witness=plant.witness))


def test_a_request_of_another_kind_is_not_answered_with_its_release(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant(privacy=ALLOWED)
    asked = plant.query()
    answer_query(plant.home, asked, witness=plant.witness)
    query = replace(_deliver(plant, good_head), request_id=asked.request_id)
    with pytest.raises(PolicyRefused, match="something else"):
        answer_quality(plant.home, query, witness=plant.witness)
    query = _deliver(plant, good_head)
    answer_quality(plant.home, query, witness=plant.witness)
    with pytest.raises(PolicyRefused, match="something else"):
        answer_query(plant.home, plant.query(request_id=query.request_id), witness=plant.witness)
    assert _spent(plant)[0] == 2


def test_an_open_charge_is_completed_for_the_same_data_alone(
    make_plant: MakePlant, good_head: LinearHead
) -> None:
    plant = make_plant(privacy=ALLOWED)
    query = _deliver(plant, good_head)

    class Stopped(Exception):
        pass

    def stop(step: str) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        answer_quality(plant.home, query, witness=plant.witness, on_step=stop)
    _opened(plant, answer_quality(plant.home, query, witness=plant.witness))
    assert _spent(plant)[0] == 1
    second = replace(_deliver(plant, good_head), request_id=secrets.token_hex(16))
    with pytest.raises(Stopped):
        answer_quality(plant.home, second, witness=plant.witness, on_step=stop)
    write_npz(Path(plant.config.data.path), {0: 9}, seed=4, labels=LABELS)
    plant.freeze()
    with pytest.raises(RefusedError, match="burned"):
        answer_quality(plant.home, second, witness=plant.witness)


def test_an_auditor_proves_a_report_and_finds_a_lie(
    make_plant: MakePlant, good_head: LinearHead, tmp_path: Path
) -> None:
    plant = make_plant(privacy=ALLOWED)
    data = answer_quality(plant.home, _deliver(plant, good_head), witness=plant.witness)
    other = answer_quality(plant.home, _deliver(plant, good_head), witness=plant.witness)
    path = tmp_path / "report.wgq"
    path.write_bytes(data)
    found = verification.verify(plant.home.root, statistics=[path])
    assert [each.file for each in found.received] == ["report.wgq"]
    assert found.accounts[0].charges == 2 and 1 < found.accounts[0].primary < 2
    for speak, word in (
        (ENGLISH, "right answers of package"),
        (translations.shared("ja"), "正解数"),
    ):
        page = render(answers.read(plant.home.root, found), speak)
        assert word in page
        assert ("quality reports: 2," if speak is ENGLISH else "正解率の報告：2 件") in page
    # the report of one package under the proofs of another's
    mine, theirs = quality_file.decode_covered(data), quality_file.decode_covered(other)
    path.write_bytes(quality_file.encode_covered(replace(theirs, release=mine.release)))
    with pytest.raises(VerificationError, match="another charge entry"):
        verification.verify(plant.home.root, statistics=[path])
    # a file that was never charged
    manifest, _ = _opened(plant, data)
    integers = np.zeros(3, dtype=np.int64)
    digest = canonical.sha256_hex(integers.tobytes())
    key = signing.load(plant.home.signing_key)
    forged = quality_file.encode_report(replace(manifest, integers_sha256=digest), integers, key)
    path.write_bytes(quality_file.encode_covered(replace(mine, release=forged)))
    with pytest.raises(VerificationError, match="covered by 0"):
        verification.verify(plant.home.root, statistics=[path])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"site": "plant-b"}, "site"),
        ({"package_sha256": "00" * 32}, "package"),
        ({"purpose": "weights"}, "purpose"),
        ({"request_id": "00" * 16}, "request id"),
        ({"encoder": "00" * 32}, "encoder"),
    ],
)
def test_a_report_that_says_other_than_its_charge_is_found(
    make_plant: MakePlant, good_head: LinearHead, change: dict[str, Any], words: str,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """A plant whose program lies: its own ledger covers what its charge does not say."""
    plant = make_plant({0: 2, 1: 2}, privacy=ALLOWED)
    real = QualityManifest
    monkeypatch.setattr(quality, "QualityManifest", lambda **fields: real(**{**fields, **change}))
    data = answer_quality(plant.home, _deliver(plant, good_head), witness=plant.witness)
    if change != {"site": "plant-b"}:  # whose site it is, the server's own table says
        with pytest.raises(VerificationError, match=words):
            _opened(plant, data)
    path = tmp_path / "report.wgq"
    path.write_bytes(data)
    with pytest.raises(VerificationError, match=words):
        verification.verify(plant.home.root, statistics=[path])


def test_a_slot_that_counting_could_outlast_is_refused(make_plant: MakePlant) -> None:
    plant = make_plant(privacy=replace(ALLOWED, answer_slot_seconds=2.0))
    answer_time.check_slot(plant.config, 10_000, 1000)
    with pytest.raises(ConfigError, match="set 20"):
        answer_time.check_slot(plant.config, 100_000, 1000)
    plant.configure(privacy=replace(ALLOWED, answer_slot_seconds=0.0001))
    snapshot = snapshots.current(plant.home)
    with pytest.raises(ConfigError, match="too short"):
        answer_time.check_answers(plant.config, snapshot)
    default = PrivacyConfig(answer_slot_seconds=0.0001)
    answer_time.check_answers(replace(plant.config, privacy=default), snapshot)
