"""The catalogue of architectures and candidate sources."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from wg_common import catalogue
from wg_common.catalogue import CandidateSource
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
        "spectrum-lines": "windows",
    }


def test_every_modality_has_a_head_and_every_network_a_module() -> None:
    for modality in MODALITIES.values():
        head = catalogue.find_architecture(modality.head_architecture)
        assert (head.is_network, head.modality) == (False, modality.name)
    for name, spec in (catalogue.PACKAGE_NETWORKS | catalogue.FAMILY_NETWORKS).items():
        assert name == spec.name and spec.is_network and spec.modality in MODALITIES
        assert network.network_kind(name).feature_count > 0


def test_names_are_those_that_types_allow() -> None:
    sources = {
        *(catalogue.POSTERIOR_SOURCE, catalogue.DIFFUSION_SOURCE, catalogue.SOFT_SENSOR_SOURCE),
        *catalogue.FAMILY_SOURCES,
    }
    assert sources == set(get_args(CandidateSource))


@pytest.mark.parametrize("name", ["", "cnn", "lite0-heads"])
def test_what_is_not_in_it_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="expected one of lite0-head, window-head"):
        catalogue.find_architecture(name)


def test_a_head_is_not_a_whole_network() -> None:
    with pytest.raises(ConfigError, match="lite0-head: is no network"):
        network.network_kind("lite0-head")
