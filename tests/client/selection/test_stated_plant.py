"""From a data sheet to a kept network: no label, no release, nothing charged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from tests.client.conftest import MakePlant, TestPlant
from tests.common.nets.random_tensors import draw_trunk
from tests.server.generator.weights.test_machine_networks import SHEET, untrained
from tests.server.generators import GOOD

from wg_client.methods.method_names import GENERATED, GENERATED_FINETUNED, LOCAL_ONLY
from wg_client.models import predict, store
from wg_client.models.export import export_model
from wg_client.models.manifest import ModelsManifest
from wg_client.selection.delivery import apply_and_adopt_package
from wg_common import catalogue, weights_file
from wg_common.catalogue import DIFFUSION_SOURCE
from wg_common.inference.hostile_tensors import Tensors
from wg_common.nets import network, spectrum_lines
from wg_common.nets.encoder.projected_trunk import load_encoder
from wg_common.weights_package import GeneratorCondition
from wg_core.errors import DecodeError, VerificationError
from wg_core.privacy.schema import machine_schema
from wg_core.site.config import UNLABELLED_FOLDER
from wg_core.wire import canonical, signing
from wg_server.campaigns import machine_networks, packaging
from wg_server.campaigns.release import PackageRecipient
from wg_server.campaigns.release_pools import StoredReleasePools
from wg_server.generator import versions
from wg_server.generator.evaluation.simulated_release import simulate_noisy_statistics
from wg_server.generator.prior.evidence_pools import NO_POOLED_RELEASES
from wg_server.generator.versions import GeneratorVersion
from wg_server.generator.weights import bearing_simulation as simulation
from wg_server.generator.weights import data_sheet_generation
from wg_server.generator.weights.candidates import GeneratedCandidate
from wg_server.site.home import ServerHome
from wg_server.store.database import open_engine
from wg_server.store.server_store import ServerStore

LABELS = ("normal", "ball", "inner", "outer")


@pytest.fixture(scope="module")
def sheets() -> bytes:
    """An untrained generator of networks from data sheets."""
    return data_sheet_generation.pack_sheet_generator(untrained())


def _version(home: ServerHome, sheets: bytes) -> GeneratorVersion:
    """A version of it; nobody asks for its heads here."""
    home.root.mkdir(exist_ok=True)
    card = {
        "generator": "0" * 64,
        "encoder": "0" * 64,
        "architecture": "window-head",
        "checks": [GOOD.to_document()],
        "sheets": {"generator": canonical.sha256_hex(sheets), "checks": [GOOD.to_document()]},
    }
    return versions.write_version(home, card, b"heads", sheets)


def _recipient(plant: TestPlant, **changes: Any) -> PackageRecipient:
    words = {"site": plant.config.site, "encoder_sha256": plant.encoder, "labels": LABELS}
    return PackageRecipient(**{**words, "data_sheet": SHEET, **changes})


def _machine_plant(make_plant: MakePlant, encoder: bytes) -> TestPlant:
    """A plant of windows without a label."""
    plant = make_plant(name="plant-m", frozen=False)
    plant.confirm(encoder)
    folder = plant.home.root / "data" / UNLABELLED_FOLDER
    folder.mkdir(parents=True)
    for number, window in enumerate(np.random.default_rng(1).normal(size=(24, 1, 1024))):
        np.save(folder / f"{number}.npy", window.astype(np.float32))
    data = replace(plant.config.data, path=str(folder.parent), labels=LABELS)
    plant.configure(data=data, data_sheet=SHEET)
    plant.freeze()
    return plant


@pytest.fixture
def no_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A generator that has no heads for the plant."""
    monkeypatch.setattr(packaging, "_generate_heads", lambda *words: ((), NO_POOLED_RELEASES))


def _kept(
    make_plant: MakePlant, window_encoder: bytes, sheets: bytes, tmp_path: Path
) -> tuple[TestPlant, ModelsManifest]:
    """A plant that applied a package of networks for its machine."""
    plant, home = _machine_plant(make_plant, window_encoder), ServerHome(tmp_path / "server")
    version = _version(home, sheets)
    signing.save(home.signing_key, plant.server_key)
    with ServerStore(open_engine(f"sqlite:///{tmp_path}/store")) as store:
        package = packaging.make_package(
            home, StoredReleasePools(home, store), _recipient(plant), "ab" * 16, version.id
        )
    return plant, apply_and_adopt_package(plant.home, package).manifest


@pytest.mark.usefixtures("no_heads")
def test_networks_for_a_stated_machine_are_kept_without_a_label(
    make_plant: MakePlant, window_encoder: bytes, sheets: bytes, tmp_path: Path
) -> None:
    _, manifest = _kept(make_plant, window_encoder, sheets, tmp_path)
    assert (manifest.kept, manifest.architecture) == (GENERATED, "window-head")
    assert manifest.network is not None and manifest.network.architecture == "spectrum-lines"
    made_for = GeneratorCondition(
        generator=canonical.sha256_hex(sheets), data_sheet="rotating_machine"
    )
    assert manifest.condition == made_for and not manifest.own_release
    (kept,) = (entry for entry in manifest.models if entry.name == GENERATED)
    assert kept.origin.startswith(("raw-", "standardised-"))
    assert len(manifest.candidates) == 34
    assert "machine that this plant declares" in manifest.reason


@pytest.mark.parametrize("others", [0, 2])
def test_networks_and_what_others_released_stand_in_one_package(
    make_plant: MakePlant,
    window_encoder: bytes,
    sheets: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    others: int,
) -> None:
    plant, home = make_plant(frozen=False), ServerHome(tmp_path / "server")
    version = _version(home, sheets)
    signing.save(home.signing_key, plant.server_key)
    schema = SimpleNamespace(release_kind="classes")
    release = SimpleNamespace(manifest=SimpleNamespace(release_id="cd" * 16, schema=schema))
    pools: Any = (SimpleNamespace(site_count=others),)
    pooled = replace(NO_POOLED_RELEASES, pools=pools, merkle_root="ab" * 32 if others else "")
    head = GeneratedCandidate("pooled", catalogue.POSTERIOR_SOURCE, {"bias": np.zeros(2)})
    monkeypatch.setattr(packaging, "_generate_heads", lambda *words: ((head,), pooled))
    with ServerStore(open_engine(f"sqlite:///{tmp_path}/store")) as store:
        package = packaging.make_package(
            home,
            StoredReleasePools(home, store),
            _recipient(plant, release=release),
            "ab" * 16,
            version.id,
        )
    key = signing.public_from_hex(plant.config.server.signing_key)
    manifest, _ = weights_file.decode_weights_package(package, key)
    held = {candidate.architecture for candidate in manifest.candidates}
    assert held == {"spectrum-lines", *(["window-head"] if others else [])}
    assert manifest.pool_releases == others
    assert manifest.condition.data_sheet == "rotating_machine"
    assert not manifest.condition.statistic


def _with_both_treatments(plant: TestPlant) -> ModelsManifest:
    """A plant that applied a network of each scaling, of which the standardised one says more."""
    rng = np.random.default_rng(3)
    head = {"head.weight": rng.normal(size=(4, 64)), "head.bias": np.zeros(4)}
    silent = {name: np.float32(0.01) * value for name, value in head.items()}
    trunk = draw_trunk(catalogue.SPECTRUM_LINES_NETWORK, rng)
    loud = {name: np.asarray(20 * value, np.float32) for name, value in head.items()}
    package = plant.package(
        {
            "sheet-mean": (
                {**trunk, **{k: v.astype(np.float32) for k, v in silent.items()}},
                DIFFUSION_SOURCE,
            ),
            "standardised": ({**trunk, **loud}, DIFFUSION_SOURCE),
        },
        architecture=catalogue.SPECTRUM_LINES_NETWORK,
        inputs={"standardised": "standardised"},
    )
    return apply_and_adopt_package(plant.home, package).manifest


def test_a_record_s_answer_does_not_depend_on_those_beside_it(
    make_plant: MakePlant, window_encoder: bytes
) -> None:
    plant = _machine_plant(make_plant, window_encoder)
    manifest = _with_both_treatments(plant)
    encoder = load_encoder(plant.home.encoder.read_bytes())
    beside = predict.load_network(plant.home, manifest, encoder)
    assert beside is not None and beside.width == 2 * network.feature_count("spectrum-lines")
    windows = list(np.random.default_rng(2).normal(size=(5, 1, 1024)).astype(np.float32))
    windows[1:] = [30 * window for window in windows[1:]]
    together = predict.compute_features(encoder, beside, windows)
    alone = predict.compute_features(encoder, beside, windows[:1])
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


def test_inputs_are_standardised_by_the_plant_s_own_records(
    make_plant: MakePlant, window_encoder: bytes
) -> None:
    plant = _machine_plant(make_plant, window_encoder)
    manifest = _with_both_treatments(plant)
    stored = store.load_companion_tensors(plant.home, manifest, store.NETWORK_NAME)
    assert stored is not None
    folded = {name: value for name, value in stored.items() if ".1.trunk." in name}
    plain = {name: value for name, value in stored.items() if ".0.trunk." in name}
    assert len(folded) == len(plain) == 4
    data = predict.load_records(plant.home.root / "data", LABELS)
    inputs = network.prepare_batch(catalogue.SPECTRUM_LINES_NETWORK, data.records)
    first, bias = (plain[f"spectrum-lines.0.trunk.first.{n}"] for n in ("weight", "bias"))
    moments = (torch.from_numpy(x) for x in (inputs, inputs.mean(axis=0), inputs.std(axis=0)))
    expected = spectrum_lines.standardise_inputs(*moments).numpy()
    weight, shift = (folded[f"spectrum-lines.1.trunk.first.{n}"] for n in ("weight", "bias"))
    np.testing.assert_allclose(inputs @ weight.T + shift, expected @ first.T + bias, atol=1e-3)


@pytest.mark.slow
def test_both_treatments_are_exported_as_one_graph(
    make_plant: MakePlant, window_encoder: bytes, tmp_path: Path
) -> None:
    plant = _machine_plant(make_plant, window_encoder)
    manifest = _with_both_treatments(plant)
    _assert_exported_alike(plant, manifest, tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.usefixtures("no_heads")
def test_a_network_of_a_sheet_is_exported_with_its_second_input(
    make_plant: MakePlant, window_encoder: bytes, sheets: bytes, tmp_path: Path
) -> None:
    plant, manifest = _kept(make_plant, window_encoder, sheets, tmp_path)
    _assert_exported_alike(plant, manifest, tmp_path / "model.onnx")


def _assert_exported_alike(plant: TestPlant, manifest: ModelsManifest, out: Path) -> None:
    windows = np.random.default_rng(2).normal(size=(3, 1, 1024)).astype(np.float32)
    metadata = export_model(plant.home, manifest, GENERATED, "onnx", out)
    assert metadata["network"] == catalogue.SPECTRUM_LINES_NETWORK
    encoder = predict.load_encoder(plant.home, manifest)
    trunks = {"windows": encoder.module.trunk, **{t.label: t for t in encoder.further_trunks}}
    feeds = {
        **{
            name: torch.cat([trunk.prepare([each]) for each in windows]).numpy()
            for name, trunk in trunks.items()
        },
        "prepared": network.prepare_batch(catalogue.SPECTRUM_LINES_NETWORK, list(windows)),
    }
    (logits,) = onnxruntime.InferenceSession(str(out)).run(["logits"], feeds)
    network_trunk = predict.load_network(plant.home, manifest, encoder)
    inputs = predict.compute_features(encoder, network_trunk, list(windows))
    expected = predict.model_logits(plant.home, manifest, GENERATED, inputs)
    np.testing.assert_allclose(logits, expected, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("per_class", [2, 5, 20])
def test_a_perfect_network_is_kept_by_a_plant_with_labels(
    make_plant: MakePlant, window_encoder: bytes, per_class: int
) -> None:
    simulator = simulation.BearingSimulator(5)
    machine = simulator.draw_machines(1)
    plant = _machine_plant(make_plant, window_encoder)
    windows = simulator.simulate_windows(machine, per_class)[0]  # [condition, n, 1024]
    for label, records in zip(LABELS, windows, strict=True):
        folder = plant.home.root / "data" / label
        folder.mkdir()
        for number, window in enumerate(records):
            np.save(folder / f"{number}.npy", window[None].numpy().astype(np.float32))
    plant.freeze()
    perfect = _trained(simulator.simulate_windows(machine, 400)[0])
    rng = np.random.default_rng(1)
    fixed = {**perfect, **draw_trunk(catalogue.SPECTRUM_LINES_NETWORK, rng)}
    package = plant.package(
        {"sheet-mean": (perfect, "diffusion"), "fixed": (fixed, "diffusion")},
        architecture=catalogue.SPECTRUM_LINES_NETWORK,
    )
    manifest = apply_and_adopt_package(plant.home, package).manifest
    (best,) = (model for model in manifest.models if model.name == manifest.kept)
    assert manifest.kept != LOCAL_ONLY and best.origin == "sheet-mean"
    assert {model.name for model in manifest.models} == {LOCAL_ONLY, GENERATED, GENERATED_FINETUNED}
    new_windows = list(simulator.simulate_windows(machine, 60)[0].flatten(0, 1)[:, None].numpy())
    encoder = predict.load_encoder(plant.home, manifest)
    network_trunk = predict.load_network(plant.home, manifest, encoder)
    inputs = predict.compute_features(encoder, network_trunk, new_windows)
    labels = np.repeat(np.arange(len(LABELS)), 60)
    right = {
        name: (
            predict.model_logits(plant.home, manifest, name, inputs).argmax(axis=1) == labels
        ).mean()
        for name in (manifest.kept, LOCAL_ONLY)
    }
    assert right[manifest.kept] > right[LOCAL_ONLY]


def test_what_is_no_network_is_refused(make_plant: MakePlant, window_encoder: bytes) -> None:
    plant = _machine_plant(make_plant, window_encoder)
    good = draw_trunk(catalogue.SPECTRUM_LINES_NETWORK, np.random.default_rng(1))
    head = {"head.weight": np.zeros((4, 64), np.float32), "head.bias": np.zeros(4, np.float32)}
    for tensors, source in (
        ({**good, **head}, "kin"),
        ({**good, **head}, "posterior"),
        (good, "diffusion"),
        ({**good, **head, "trunk.first.bias": np.zeros(3, np.float32)}, "diffusion"),
    ):
        package = plant.package(
            {"s": (tensors, source)}, architecture=catalogue.SPECTRUM_LINES_NETWORK
        )
        with pytest.raises(DecodeError, match="candidate s"):
            apply_and_adopt_package(plant.home, package)
    assert not store.all_manifests(plant.home)


def test_hostile_inputs_and_architectures_are_refused(
    make_plant: MakePlant, window_encoder: bytes
) -> None:
    plant = _machine_plant(make_plant, window_encoder)
    head = {"head.weight": np.zeros((4, 16), np.float32), "head.bias": np.zeros(4, np.float32)}
    for architecture, inputs, error in (
        ("window-head", "standardised", "candidate s: inputs 'standardised' of a head"),
        ("lite0-low", "raw", "candidate s: architecture"),
        ("../spectrum-lines", "raw", "candidate s: architecture"),
        ("lite0-head", "raw", "candidate s: architecture lite0-head is for images"),
        ("window-head", "whitened", "inputs"),
    ):
        package = plant.package(
            {"s": (head, DIFFUSION_SOURCE)}, architecture=architecture, inputs={"s": inputs}
        )
        with pytest.raises((DecodeError, VerificationError), match=error):
            apply_and_adopt_package(plant.home, package)
    assert not store.all_manifests(plant.home)


def test_weights_that_overflow_when_inputs_are_standardised_are_refused(
    make_plant: MakePlant, window_encoder: bytes
) -> None:
    plant = _machine_plant(make_plant, window_encoder)
    trunk = draw_trunk(catalogue.SPECTRUM_LINES_NETWORK, np.random.default_rng(1))
    trunk["trunk.first.weight"] = np.full_like(trunk["trunk.first.weight"], 3e38)
    head = {"head.weight": np.full((4, 64), 3e38, np.float32), "head.bias": np.zeros(4, np.float32)}
    package = plant.package(
        {"s": ({**trunk, **head}, DIFFUSION_SOURCE)},
        architecture=catalogue.SPECTRUM_LINES_NETWORK,
        inputs={"s": "standardised"},
    )
    with pytest.raises(DecodeError, match="candidate s: a feature of a record here is not finite"):
        apply_and_adopt_package(plant.home, package)


def _trained(windows: torch.Tensor) -> Tensors:
    """A network that was trained on many windows ``[4, n, 1024]`` of one machine."""
    torch.manual_seed(0)
    inputs = spectrum_lines.piece_inputs(windows.flatten(0, 1))
    labels = torch.arange(len(LABELS)).repeat_interleave(windows.shape[1])
    trunk = network.build_trunk(catalogue.SPECTRUM_LINES_NETWORK)
    features = network.feature_count(catalogue.SPECTRUM_LINES_NETWORK)
    model = torch.nn.ModuleDict({"trunk": trunk, "head": torch.nn.Linear(features, len(LABELS))})
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(150):
        rows = torch.randint(len(labels), (256,))
        loss = torch.nn.functional.cross_entropy(
            model["head"](model["trunk"](inputs[rows])), labels[rows]
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def test_what_cannot_be_made_by_a_sheet_is_not(
    make_plant: MakePlant, sheets: bytes, tmp_path: Path
) -> None:
    plant, home = make_plant(name="plant-n", frozen=False), ServerHome(tmp_path / "server")
    version = _version(home, sheets)
    for changes in (
        {"data_sheet": None},
        {"labels": ("good", "scratch")},  # no condition of a bearing
    ):
        assert (
            machine_networks.make_machine_networks(version, _recipient(plant, **changes), seed=1)
            is None
        )
    version.sheets_path.write_bytes(b"another file")
    with pytest.raises(VerificationError, match="its model card names"):
        machine_networks.make_machine_networks(version, _recipient(plant), seed=1)


@pytest.mark.parametrize(("records", "changes"), [(300, True), (99, False)])
def test_machine_statistics_of_enough_records_change_what_is_made(
    make_plant: MakePlant, sheets: bytes, tmp_path: Path, records: int, changes: bool
) -> None:
    plant, home = make_plant(name="plant-s", frozen=False), ServerHome(tmp_path / "server")
    version, schema = _version(home, sheets), machine_schema("ab" * 32, "record")
    numbers = np.full((records, schema.dimension), 0.1)
    rng = np.random.default_rng(0)
    statistics = simulate_noisy_statistics(schema, numbers, np.full(records, -1), 0.0, rng)
    manifest = SimpleNamespace(release_id="cd" * 16, schema=schema, epsilon="1")
    release = SimpleNamespace(manifest=manifest, statistics=statistics)
    made, bare = (
        machine_networks.make_machine_networks(version, _recipient(plant, release=part), seed=1)
        for part in (release, None)
    )
    assert made is not None and bare is not None
    pairs = zip(made[2], bare[2], strict=True)
    same = [np.array_equal(a.tensors["head.weight"], b.tensors["head.weight"]) for a, b in pairs]
    assert not any(same) if changes else all(same)
    assert (made[0].statistic, made[0].epsilon) == (("cd" * 16, "1") if changes else ("", ""))
    assert not bare[0].statistic and bare[0].generator == made[0].generator
