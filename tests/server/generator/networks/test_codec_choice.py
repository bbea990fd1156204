"""The VAE of layer parts, and the choice between codecs by what decoded networks are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.server.generator.networks.conftest import network_of
from torch import Tensor

from wg_common.errors import ConfigError
from wg_common.nets import network as whole_networks
from wg_server.generator import networks_pipeline
from wg_server.generator.evaluation import codec_fidelity
from wg_server.generator.networks import vae
from wg_server.generator.networks.codec import Array, Codec, fit_layer_codec
from wg_server.generator.networks.entries import ZooNetwork
from wg_server.generator.networks.plan import NetworkTraining
from wg_server.generator.networks.weight_plan import weight_plan
from wg_server.generator.prior.fitted import FittedPriors
from wg_server.generator.prior.zoo_tasks import ZooTask

PLAN = weight_plan("cnn-s", "whole")
PARTS = [part.name for part in PLAN.parts]
FAMILIES = frozenset(f"family-{i}" for i in range(10))


@pytest.fixture(scope="module")
def base() -> dict[str, Array]:
    return whole_networks.draw_trunk("cnn-s", np.random.default_rng(5))


@pytest.fixture(scope="module")
def networks(zoo_tasks: list[ZooTask], base: dict[str, Array]) -> list[ZooNetwork]:
    """Networks that are right about everything, and of which little is right without the delta."""
    found = []
    for task in [t for t in zoo_tasks if t.key.endswith("-1")]:
        network = network_of(task, "cnn-s")
        network = replace(network, tokens={k: 8 * v for k, v in network.tokens.items()})
        delta = PLAN.delta(network.tokens)
        trunk = whole_networks.load_trunk("cnn-s", {k: v + delta[k] for k, v in base.items()})
        features = whole_networks.features(trunk, network.inputs)
        mean = features.mean(axis=0)
        rows = np.random.default_rng(6).normal(size=network.rows.shape).astype(np.float32)
        rows[:, -1] = rows[:, :-1] @ (network.centre - mean)
        answers = ((features - network.centre) @ rows[:, :-1].T + rows[:, -1]).argmax(axis=1)
        y = task.y.copy()
        y[network.held] = answers
        found.append(replace(network, rows=rows, task=replace(task, y=y)))
    return found


@pytest.fixture(scope="module")
def tokens(networks: list[ZooNetwork]) -> list[dict[str, Array]]:
    return [network.tokens for network in networks]


@pytest.fixture(scope="module")
def codec(tokens: list[dict[str, Array]]) -> vae.VaeCodec:
    return vae.fit_vae_codec(PARTS, tokens, 4, 1)


def test_vae_latents_have_unit_scale_and_zero_is_the_base(
    codec: vae.VaeCodec, tokens: list[dict[str, Array]]
) -> None:
    latents = np.stack([codec.encode(one) for one in tokens])
    assert latents.dtype == np.float32
    np.testing.assert_allclose((latents**2).mean(axis=0), 1, atol=1e-3)
    assert not any(v.any() for v in codec.decode(torch.zeros(11, 4)).values())
    nothing = {name: np.zeros_like(value) for name, value in tokens[0].items()}
    np.testing.assert_allclose(codec.encode(nothing), 0, atol=1e-6)


def test_vae_begins_as_pca(tokens: list[dict[str, Array]]) -> None:
    straight = fit_layer_codec(PARTS, tokens, 4)
    begun = vae.fit_vae_codec(PARTS, tokens, 4, 1, steps=0)
    latents = straight.encode(tokens[2])
    np.testing.assert_allclose(begun.encode(tokens[2]), latents, atol=1e-4)
    decoded = begun.decode(torch.from_numpy(latents))
    for name, value in straight.decode(torch.from_numpy(latents)).items():
        np.testing.assert_allclose(decoded[name].numpy(), value.numpy(), atol=1e-4)


def test_training_the_vae_improves_what_it_was_fitted_on(
    codec: vae.VaeCodec, tokens: list[dict[str, Array]]
) -> None:
    def lost(one: Codec) -> float:
        found = []
        for network in tokens:
            decoded = one.decode(torch.from_numpy(one.encode(network)))
            found += [
                ((decoded[name].numpy() - v) ** 2).sum() / (v**2).sum()
                for name, v in network.items()
            ]
        return float(np.mean(found))

    assert lost(codec) < lost(fit_layer_codec(PARTS, tokens, 4))


def test_the_same_seed_gives_the_same_vae(
    codec: vae.VaeCodec, tokens: list[dict[str, Array]]
) -> None:
    again = vae.fit_vae_codec(PARTS, tokens, 4, 1).tensors()
    other = vae.fit_vae_codec(PARTS, tokens, 4, 2).tensors()
    found = codec.tensors()
    assert all(torch.equal(found[name], again[name]) for name in found)
    assert not torch.equal(found["net.decode_out.weight"], other["net.decode_out.weight"])


def test_gradient_flows_through_the_vae_to_every_latent(codec: vae.VaeCodec) -> None:
    latents = torch.ones(11, 4, requires_grad=True)
    torch.stack([v.square().mean() for v in codec.decode(latents).values()]).sum().backward()  # type: ignore[no-untyped-call]
    assert latents.grad is not None
    assert (latents.grad != 0).all()


def test_vae_of_fewer_networks_than_latents_is_finite(tokens: list[dict[str, Array]]) -> None:
    small = vae.fit_vae_codec(PARTS, tokens[:2], 5, 1, steps=3)
    latents = small.encode(tokens[0])
    assert latents.shape == (11, 5)
    decoded = small.decode(torch.from_numpy(latents))
    assert all(np.isfinite(value.numpy()).all() for value in decoded.values())


@pytest.mark.parametrize("name", ["spread", "unit", "directions.00", "net.decode_in.weight"])
def test_a_vae_that_does_not_hold_together_is_refused(codec: vae.VaeCodec, name: str) -> None:
    sizes, tensors = [part.size for part in PLAN.parts], codec.tensors()
    vae.read_vae_codec(PARTS, sizes, tensors)
    with pytest.raises((ValueError, RuntimeError)):
        vae.read_vae_codec(PARTS, sizes, tensors | {name: tensors[name][:-1]})


@dataclass(frozen=True, slots=True, eq=False)
class Planted:
    """A codec that keeps a share of every delta, told by the length of the latent."""

    parts: tuple[str, ...]
    share: float
    seen: list[NDArray[np.float32]]
    kind: str = "planted"

    def encode(self, tokens: Mapping[str, Array]) -> Array:
        self.seen.append(np.concatenate([tokens[name] for name in self.parts]))
        return np.full((len(self.parts), 1), len(self.seen) - 1, np.float32)

    def decode(self, latents: Tensor) -> dict[str, Tensor]:
        flat, place, found = torch.from_numpy(self.seen[int(latents[0, 0])]), 0, {}
        for part in PLAN.parts:
            found[part.name] = self.share * flat[place : place + part.size]
            place += part.size
        return found

    def to(self, device: torch.device) -> Planted:
        return self

    def tensors(self) -> dict[str, Tensor]:
        return {}


def _planted(share: float) -> codec_fidelity.Fit:
    def fit(
        parts: Sequence[str], tokens: Sequence[Mapping[str, Array]], latent: int, seed: int
    ) -> Codec:
        return Planted(tuple(parts), share, [], f"planted {share}")

    return fit


@pytest.mark.parametrize(("pca", "other", "chosen"), [(0.0, 1.0, "vae"), (1.0, 0.0, "pca")])
def test_the_codec_whose_networks_answer_better_is_chosen(
    networks: list[ZooNetwork],
    base: dict[str, Array],
    monkeypatch: pytest.MonkeyPatch,
    pca: float,
    other: float,
    chosen: str,
) -> None:
    monkeypatch.setattr(codec_fidelity, "KINDS", {"pca": _planted(pca), "vae": _planted(other)})
    codec, report = codec_fidelity.fit_codec(
        networks, PLAN, base, latent=1, kind="auto", deciding=FAMILIES, seed=1
    )
    assert report["chosen"] == chosen
    assert codec.kind == "planted 1.0"
    assert report["as_trained"]["accuracy"] == 1
    assert report[f"after_{chosen}"]["accuracy"] == 1
    assert report["head_on_base"] == report["after_pca" if chosen == "vae" else "after_vae"]
    assert report["head_on_base"]["accuracy"] < 0.9
    assert report["on_fitted"]["after_planted 1.0"]["accuracy"] == 1


def test_codecs_that_do_the_same_leave_pca(
    networks: list[ZooNetwork], base: dict[str, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec_fidelity, "KINDS", {"pca": _planted(0.5), "vae": _planted(0.5)})
    _, report = codec_fidelity.fit_codec(
        networks, PLAN, base, latent=1, kind="auto", deciding=FAMILIES, seed=1
    )
    assert report["chosen"] == "pca"
    assert report["vae_minus_pca"]["accuracy"] == 0


def test_codecs_are_judged_on_families_that_they_were_not_fitted_on(
    networks: list[ZooNetwork], base: dict[str, Array]
) -> None:
    family_of = {id(network.tokens): network.task.family for network in networks}
    fitted: list[set[str]] = []
    judged: dict[str, int] = {}

    def fit(
        parts: Sequence[str], tokens: Sequence[Mapping[str, Array]], latent: int, seed: int
    ) -> Codec:
        fitted.append({family_of[id(one)] for one in tokens})
        return Watched(tuple(parts), 1.0, [])

    class Watched(Planted):
        __slots__ = ()

        def encode(self, tokens: Mapping[str, Array]) -> Array:
            family = family_of[id(tokens)]
            assert family not in fitted[-1]
            judged[family] = judged.get(family, 0) + 1
            return Planted.encode(self, tokens)

    some = sorted(FAMILIES)[:7]
    mine = [n for n in networks if n.task.family in some]
    scores = codec_fidelity.left_out(mine, PLAN, base, {"watched": fit}, latent=1, seed=1)
    assert judged == dict.fromkeys(some, 1)
    assert sorted(scores.families) == some


def test_families_that_may_not_decide_are_only_fitted_on(
    networks: list[ZooNetwork], base: dict[str, Array]
) -> None:
    _, report = codec_fidelity.fit_codec(
        networks,
        PLAN,
        base,
        latent=2,
        kind="pca",
        deciding=frozenset(sorted(FAMILIES)[:4]),
        seed=1,
    )
    assert report["networks"] == 4
    assert report["chosen"] == "pca"
    assert "after_vae" not in report


@pytest.mark.parametrize("kind", ["auto", "pca", "vae"])
def test_too_few_families_decide_nothing(
    networks: list[ZooNetwork], base: dict[str, Array], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(codec_fidelity, "FOLDS", 99)
    codec, report = codec_fidelity.fit_codec(
        networks[:3], PLAN, base, latent=2, kind=kind, deciding=FAMILIES, seed=1
    )
    assert codec.kind == ("vae" if kind == "vae" else "pca")
    assert report["networks"] == 0


def test_a_zoo_is_decoded_by_the_codec_of_the_plan(
    networks: list[ZooNetwork], base: dict[str, Array]
) -> None:
    holdings = {"cnn-s": networks_pipeline._Holding(PLAN, base, networks)}
    dimension = networks[0].task.features.shape[1]
    priors = SimpleNamespace(basis=np.eye(dimension), between=np.ones(dimension))
    fitted_priors = cast("FittedPriors", SimpleNamespace(priors=priors))
    zoos, reports = networks_pipeline._zoos(
        holdings, NetworkTraining(codec="vae", latent=2), fitted_priors, FAMILIES, 1
    )
    zoo = zoos["cnn-s"]
    assert zoo.decoder.codec.kind == reports["cnn-s"]["chosen"] == "vae"
    latents = zoo.fitted_priors.retrieval_index.latents
    np.testing.assert_array_equal(latents[0], zoo.decoder.codec.encode(networks[0].tokens))


def test_unknown_codecs_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"networks\.codec"):
        NetworkTraining(codec="zip")
