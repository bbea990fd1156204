"""The catalogue of architectures, weight plans and candidate sources."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from wg_common import catalogue
from wg_common.catalogue import CandidateSource, WeightPlan
from wg_common.modalities.registry import MODALITIES
from wg_common.nets import network
from wg_core.errors import ConfigError


def test_the_catalogue_needs_no_torch() -> None:
    code = (
        "import sys; from wg_common import catalogue; catalogue.architectures();"
        " sys.exit(bool({'torch', 'PIL', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_says_what_each_architecture_takes() -> None:
    found = {name: spec.modality for name, spec in catalogue.architectures().items()}
    assert found == {
        "lite0-head": "images",
        "window-head": "windows",
        "text-head": "texts",
        "cnn-s": "images",
        "cnn-m": "images",
        "cnn-l": "images",
        "spectrum-lines": "windows",
        "cnn1d-s": "windows",
        "cnn1d-m": "windows",
        "lite0": "images",
    }


def test_every_modality_has_a_head_and_every_network_a_module() -> None:
    for modality in MODALITIES.values():
        head = catalogue.known(modality.head)
        assert (head.whole, head.modality, head.plans) == (False, modality.name, ("head",))
    for name, spec in catalogue.NETWORKS.items():
        assert name == spec.name and spec.whole and spec.modality in MODALITIES
        assert network.kind(name).features > 0
        assert [plan for plan in catalogue.WEIGHT_PLANS if plan in spec.plans] == list(spec.plans)


def test_names_are_those_that_types_allow() -> None:
    assert get_args(WeightPlan) == catalogue.WEIGHT_PLANS
    named = {catalogue.BASE, "closed-form", catalogue.POSTERIOR, catalogue.SAME_FAMILY}
    assert named | catalogue.GENERATED_SOURCES == set(get_args(CandidateSource))


@pytest.mark.parametrize("name", ["", "cnn", "lite0-heads"])
def test_what_is_not_in_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected one of lite0-head, window-head"):
        catalogue.known(name)
    with pytest.raises(ConfigError, match="expected one of head, norm, low-rank"):
        catalogue.check_plan(name)


def test_a_head_is_not_a_whole_network() -> None:
    with pytest.raises(ConfigError, match="lite0-head: is not a whole network"):
        network.kind("lite0-head")


def test_of_published_networks_a_few_changes_are_trained() -> None:
    few = {name for name in catalogue.NETWORKS if not catalogue.known(name).all_own}
    assert few == {"lite0"}
    assert not catalogue.known("lite0-head").all_own
