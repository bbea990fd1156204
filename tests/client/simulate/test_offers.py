"""An offer is tried by the rule of ``apply`` on a plant's records; a damaged one is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from tests.bearings import BEARING
from tests.client.cli.conftest import Json, here, shown
from tests.client.conftest import LABELS, pictures, waves, write_npz
from tests.client.families import ARCHITECTURE, family_head, likeness
from tests.common.nets.onnx_models import WIDTH, encoder_file, with_further
from tests.common.nets.test_trial import HOSTILE_FILES
from tests.core.site.test_encoder_pin import Terminal
from tests.server.generator.families.test_heads import FAMILIES, HIDDEN, WORDS

from wg_client.fleet import encoder_trial
from wg_client.simulate import offers as trials
from wg_common import offer as offers
from wg_common.inference.family_head import FamilyHead
from wg_common.nets.encoder import projected_trunk
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_common.offer import Offer, OfferedFamily
from wg_core.errors import DecodeError, ExitCode
from wg_core.wire import canonical, signing
from wg_core.wire.data_sheet import DataSheet
from wg_server.generator.families.heads import family_candidates

__all__ = ["here", "shown"]


def good_family(encoder_package: bytes) -> dict[str, np.ndarray]:
    """A head that tells the three patterns apart, by class means of many pictures."""
    encoder, rng = load_encoder(encoder_package), np.random.default_rng(4)
    local = np.concatenate([encoder.encode_local_batched(pictures(rng, n, 40)) for n in range(3)])
    local = local[:, encoder.scaled_dimension :]
    mean, spread = local.mean(axis=0), local.std(axis=0) + 1e-6
    centres = ((local - mean) / spread).reshape(3, 40, -1).mean(axis=1)
    weight = centres * 8 / np.square(centres).sum(axis=1, keepdims=True)
    head = FamilyHead(
        reference=np.stack([mean, np.log(spread)]) * 0,
        records=np.ones(1),
        weight=weight,
        bias=-np.square(centres).sum(axis=1) * 0,
    )
    return head.tensors() | likeness(encoder.dimension).tensors()


@pytest.fixture
def write(tmp_path: Path, encoder_package: bytes) -> Callable[..., Path]:
    def write_offer(
        head: dict[str, np.ndarray],
        encoder_package: bytes = encoder_package,
        machines: tuple[str, ...] = (),
    ) -> Path:
        key, tensors = signing.generate_key(), offers.pack_tensors([head])
        offer = Offer(
            server="hq",
            key=signing.public_bytes(key).hex(),
            encoder=canonical.sha256_hex(encoder_package),
            tensors=canonical.sha256_hex(tensors),
            kinds=(OfferedFamily(name="patterns", labels=("a", "b", "c")),),
            machines=machines,
            sites={"Bars": 2, "dots": 1, "scratch": 9},
            created=1,
        )
        path = tmp_path / "hq.wgo"
        path.write_bytes(offers.encode_offer(offer, encoder_package, tensors, key))
        return path

    return write_offer


def test_an_offer_is_tried_on_the_plants_own_records(
    write: Callable[..., Path], encoder_package: bytes, tmp_path: Path, here: Json
) -> None:
    data = write_npz(tmp_path / "data.npz", {0: 6, 1: 6, 2: 6}, seed=3, labels=LABELS)
    for head in (good_family(encoder_package), family_head(encoder_package, 3)):
        named = ("--encoder", canonical.sha256_hex(encoder_package)[:16])
        trial = here("simulate", "--data", data, "--offer", write(head), *named)["offer"]
        assert (trial["server"], trial["kinds"], trial["sites"]) == ("hq", 1, 1)
        assert isinstance(trial["pays"], bool)


def test_windows_without_a_data_sheet_are_told_of_networks_from_one(
    write: Callable[..., Path],
    window_encoder: bytes,
    tmp_path: Path,
    shown: Callable[..., tuple[str, str]],
) -> None:
    data, sheet = tmp_path / "data.npz", tmp_path / "sheet.json"
    rng = np.random.default_rng(4)
    windows = np.concatenate([waves(rng, label, 6) for label in range(3)])
    np.savez(data, x=windows, y=np.repeat(range(3), 6), classes=np.array(LABELS))
    sheet.write_bytes(canonical.encode(DataSheet(rotating_machine=BEARING)))
    machines = ("rotating_machine",)
    offer = write(family_head(window_encoder, 3), window_encoder, machines)
    named = ("--offer", offer, "--encoder", canonical.sha256_hex(window_encoder)[:16])
    line = "from a data sheet of these machines: rotating_machine;"
    assert line in " ".join(shown("simulate", "--data", data, *named)[0].split())
    stated, _ = shown("simulate", "--data", data, *named, "--data-sheet", sheet)
    assert "of these machines" not in stated


@pytest.mark.parametrize("shapes", [((), (3,)), ((2, 9), (3,)), ((2, 9), (2,)), ((3, 9), ())])
def test_a_head_without_the_rows_of_its_classes_is_refused(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    weight, bias = (np.zeros(shape, np.float32) for shape in shapes)
    with pytest.raises(DecodeError, match="lacks the head"):
        trials._select_class_rows({"weight": weight, "bias": bias}, np.array([2, 0]), ARCHITECTURE)


def test_a_changed_offer_is_refused(
    write: Callable[..., Path], encoder_package: bytes, tmp_path: Path, here: Json
) -> None:
    data = write_npz(tmp_path / "data.npz", {0: 3, 1: 3}, seed=3, labels=LABELS)
    path = write(family_head(encoder_package, 3))
    whole = path.read_bytes()
    for place in (200, 700, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        codes = (ExitCode.CONFIG, ExitCode.VERIFICATION)
        here("simulate", "--data", data, "--offer", path, code=codes)


def test_an_offers_encoder_runs_only_if_its_hash_is_confirmed(
    write: Callable[..., Path],
    encoder_package: bytes,
    tmp_path: Path,
    here: Json,
    shown: Callable[..., tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_npz(tmp_path / "data.npz", {0: 6, 1: 6, 2: 6}, seed=3, labels=LABELS)
    words = ("simulate", "--data", data, "--offer", write(family_head(encoder_package, 3)))
    loaded = Mock(side_effect=AssertionError)
    with monkeypatch.context() as patched:
        patched.setattr(encoder_trial, "try_and_load_encoder", loaded)
        assert "compare the hash" in str(here(*words, code=ExitCode.USAGE))
        here(*words, "--encoder", "5f0c", code=ExitCode.USAGE)
        here(*words, "--encoder", "0" * 64, code=ExitCode.VERIFICATION)
        patched.setattr("sys.stdin", Terminal("n\n"))
        _, errors = shown(*words, code=ExitCode.REFUSED)
        assert "was not run" in errors and not loaded.called
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    out, _ = shown(*words)
    assert "offer of hq, key " in out
    assert out.index(canonical.sha256_hex(encoder_package)) < out.index("operator?")


def test_a_file_in_an_offers_encoder_is_tried_before_anything_runs(
    write: Callable[..., Path],
    encoder_package: bytes,
    tmp_path: Path,
    here: Json,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = write_npz(tmp_path / "data.npz", {0: 6, 1: 6}, seed=3, labels=LABELS)
    monkeypatch.setattr(projected_trunk, "load_encoder", Mock(side_effect=AssertionError))
    for graph, message, _ in (HOSTILE_FILES["random"], HOSTILE_FILES["loop"]):
        hostile = with_further(encoder_package, encoder_file(graph(), width=WIDTH))
        words = ("--offer", write(family_head(encoder_package, 3), hostile))
        named = ("--encoder", canonical.sha256_hex(hostile))
        refusal = here("simulate", "--data", data, *words, *named, code=ExitCode.CONFIG)
        assert message in str(refusal)


@pytest.mark.parametrize(
    "labels",
    [
        WORDS["family-2"][::-1],
        WORDS["family-5"],
        tuple(name.upper() for name in WORDS["family-2"][1:]),
        ("river", "class-0", "window", "salt"),
        HIDDEN,
    ],
)
def test_a_trial_has_the_candidates_that_a_server_would_send(labels: tuple[str, ...]) -> None:
    sent = list(family_candidates(FAMILIES, labels))
    families = list(FAMILIES.families.values())
    kinds = [OfferedFamily(name="x", labels=family.labels) for family in families]
    source, rows_of_kinds = trials._match_offered_families(kinds, labels)
    assert {source} == {candidate_source for candidate_source, *_ in sent}
    assert len(sent) == len(rows_of_kinds)
    for (_, expected, _), (n, rows) in zip(sent, rows_of_kinds.items(), strict=True):
        whole = families[n].candidate_tensors(np.arange(len(families[n].labels)))
        tensors = {name: value.astype(np.float32) for name, value in whole.items()}
        got = trials._select_class_rows(tensors, rows, ARCHITECTURE)
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(got[name], value, rtol=1e-3, err_msg=name)
