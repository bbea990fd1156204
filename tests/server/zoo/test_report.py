"""The report on a zoo: its measures on cases with known answers, and the page."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from tests.server.enrolling import UNSEEN

from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.privacy.mechanism import sigma_for
from wg_core.privacy.schema import default_schema
from wg_core.privacy.simulate import simulate_statistics
from wg_core.privacy.statistics import NoisyStatistics
from wg_core.settings import parse
from wg_core.wire import canonical, signing
from wg_core.wire import statistics_file as sf
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.protocol import EnrolmentRequest
from wg_server.cli.zoo import zoo as group
from wg_server.operation.initialise import initialise
from wg_server.site.home import ServerConfig, ServerHome
from wg_server.store.sites import Store
from wg_server.zoo.build import build
from wg_server.zoo.plan import ZooPlan
from wg_server.zoo.store import Zoo
from wg_server.zoo_report import domains as points
from wg_server.zoo_report import plants
from wg_server.zoo_report.domains import Domain
from wg_server.zoo_report.summary import summarise

D = 8
PLAN = b"""
seed: 3
encoder: {pixels: 64, dimension: 8, images: 64}
sources:
  - {kind: procedural, families: 3, sites: 2, per_class: 8}
  - {kind: procedural, name: marks, families: 2, sites: 1, per_class: 8, only: digits}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> ServerHome:
    place = ServerHome(tmp_path_factory.mktemp("server") / "home")
    initialise(place, ServerConfig(name="central", fleet_port=1, enrol_port=2, admin_port=3))
    plan = parse(PLAN, ZooPlan, "plan")
    build(place, plan, workers=1, progress=lambda _done, _detail: None)
    return place


@pytest.fixture(scope="module")
def zoo(home: ServerHome) -> list[Domain]:
    return points.load(Zoo(home.zoo), home.encoder_id())


def test_the_effective_number_counts_what_differs() -> None:
    assert points.effective_number(np.ones((5, 5))) == pytest.approx(1)
    assert points.effective_number(np.eye(5, dtype=np.float64)) == pytest.approx(5)
    two = np.kron(np.eye(2), np.ones((3, 3))).astype(np.float64)
    assert points.effective_number(two) == pytest.approx(2)
    assert points.effective_number(np.zeros((0, 0))) == 0


def test_a_copy_adds_nothing_and_something_new_adds_one() -> None:
    likeness = np.eye(4)
    likeness[0, 1] = likeness[1, 0] = 1
    adds = points.added(likeness)
    assert adds[0] == adds[1] < adds[2] == pytest.approx(adds[3])
    # The entropy weighs the pair double, hence it even costs a little.
    assert adds[0] < 0 < adds[2]


def test_likeness_knows_neither_order_nor_number_of_classes() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(5, D))
    one = points.signature(rows)
    assert one @ points.signature(rows[rng.permutation(5)]) == pytest.approx(1)
    assert one @ points.signature(np.concatenate([rows, rows])) == pytest.approx(1)
    left, right = np.zeros((2, D)), np.zeros((2, D))
    left[:, 0], right[:, 1] = (-1, 1), (-1, 1)
    assert points.signature(left) @ points.signature(right) == 0


def test_the_nearest_other_is_of_another_family(zoo: list[Domain]) -> None:
    likeness = points.kernel(zoo)
    distance, which = points.nearest(zoo, likeness)
    for domain, other in zip(zoo, which, strict=True):
        assert domain.entry.family != zoo[other].entry.family
    assert np.allclose(np.diag(likeness), 1) and (distance >= 0).all()
    own = points.same_family(zoo, likeness)
    assert np.isnan(own).sum() == 2  # the marks have one site each


def test_a_zoo_of_copies_is_told(zoo: list[Domain]) -> None:
    entry = dataclasses.replace(zoo[0].entry, family="copy")
    both = [*zoo, dataclasses.replace(zoo[0], entry=entry)]
    likeness = points.kernel(both)
    found = summarise(both, likeness, points.nearest(both, likeness)[0])
    assert found.copies == 1
    assert any("all but copies" in remark for remark in found.remarks)
    assert "copy" in [one.family for one in found.least]


def test_the_summary_counts_what_is_there(zoo: list[Domain]) -> None:
    likeness = points.kernel(zoo)
    found = summarise(zoo, likeness, points.nearest(zoo, likeness)[0])
    assert (found.entries, found.families) == (8, 5)
    assert [source.name for source in found.sources] == ["marks", "procedural"]
    assert sum(source.entries for source in found.sources) == 8
    assert sum(source.share for source in found.sources) == pytest.approx(1)
    assert sum(kind.effective_share for kind in found.kinds) == pytest.approx(1)
    assert found.sources[0].classes == (10, 10, 10)
    assert 1 <= found.effective_families <= 5
    json.dumps(found.to_json(), allow_nan=False)


def _release(home: ServerHome, domain: Domain, epsilon: float) -> NoisyStatistics:
    schema = default_schema(
        encoder=home.encoder_id(), dimension=D, labels=domain.entry.labels, clip_radius=1.0
    )
    weights = Zoo(home.zoo).read(domain.entry)
    features = np.repeat(weights.features, 200, axis=0)
    labels = np.repeat(weights.labels, 200)
    sigma = sigma_for(schema, epsilon, 1e-5)
    return simulate_statistics(schema, features, labels, sigma, np.random.default_rng(1))


def test_a_plant_of_the_zoo_lies_in_it_and_one_from_elsewhere_does_not(
    home: ServerHome, zoo: list[Domain]
) -> None:
    own = points.nearest(zoo, points.kernel(zoo))[0]
    digits = next(domain for domain in zoo if domain.kind == "digits")
    known = plants.place("a", "8.0", _release(home, digits, 8.0), zoo, own)
    assert known.distance < 0.1 and known.nearest == digits.entry.family
    rest = [domain for domain in zoo if domain.entry.family != digits.entry.family]
    assert plants.place("a", "8.0", _release(home, digits, 8.0), rest, own).distance > 0.1
    noisy = plants.place("a", "0.01", _release(home, digits, 0.01), zoo, own)
    assert noisy.noise_distance > known.noise_distance


KEY = signing.generate()


def _file(home: ServerHome, path: Path, domain: Domain) -> Path:
    statistics = _release(home, domain, 8.0)
    schema = statistics.schema
    manifest = sf.StatisticsManifest(
        schema=schema,
        site="plant-a",
        dataset="line-3",
        request_id="r-1",
        release_id="00ff",
        epsilon="8.0",
        delta="1e-05",
        sigma=statistics.sigma.hex(),
        sensitivity_squared=str(schema.sensitivity_squared()),
        purpose="",
        integers_sha256=canonical.sha256_hex(sf.integers_to_bytes(statistics.integers)),
    )
    release = sf.encode_release(manifest, statistics.integers, KEY)
    path.write_bytes(sf.encode_covered(CoveredStatistics(release, b"a", b"b", b"c", b"d")))
    return path


@pytest.fixture(scope="module")
def enrolled(home: ServerHome) -> ServerHome:
    public = signing.public_bytes(KEY).hex()
    request = EnrolmentRequest(
        site="plant-a",
        secret="s",
        csr_pem="",
        node_public_key="node",
        signing_key=public,
        ledger_origin="origin/plant-a",
        ledger_key=public,
        genesis="",
        checkpoint="",
    )
    with Store.open(home) as store:
        store.invite("plant-a", "s", 2e9)
        store.enrol(request, "node", "tls", 1e9, lambda: ("f1", 2e9, None), UNSEEN)
    return home


def test_the_page_is_whole_and_needs_nothing_from_outside(
    enrolled: ServerHome, zoo: list[Domain], tmp_path: Path
) -> None:
    source, out = _file(enrolled, tmp_path / "a.wgs", zoo[0]), tmp_path / "report.html"
    words = ["report", "--home", str(enrolled.root), "--out", str(out)]
    result = CliRunner().invoke(group, [*words, "--statistics", str(source), "--json"])
    document = json.loads(result.stdout)
    (plant,) = document["plants"]
    assert plant["name"].startswith("plant-a") and plant["verdict"]
    page = out.read_text()
    for title in ("Sources and licences", "What plants see of it", "Coverage", "plant-a 00ff"):
        assert title in page
    assert page.count("<svg") == page.count("</svg>") == 5
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*\"|url\((?!#)|<script|@import", page)


def test_the_page_is_the_same_each_time(home: ServerHome, tmp_path: Path) -> None:
    pages = []
    for number in range(2):
        out = tmp_path / f"{number}.html"
        result = CliRunner().invoke(group, ["report", "--home", str(home.root), "--out", str(out)])
        assert "entries of 5 families" in result.stdout
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]


def test_a_file_that_does_not_hold_is_refused(
    enrolled: ServerHome, zoo: list[Domain], tmp_path: Path
) -> None:
    data = _file(enrolled, tmp_path / "a.wgs", zoo[0]).read_bytes()
    (tmp_path / "bad.wgs").write_bytes(data[:-1])
    with pytest.raises(DecodeError):
        plants.read(enrolled, tmp_path / "bad.wgs")
    broken = bytearray(data)
    broken[len(broken) // 2] ^= 1
    (tmp_path / "bad.wgs").write_bytes(bytes(broken))
    with pytest.raises((VerificationError, DecodeError)):
        plants.read(enrolled, tmp_path / "bad.wgs")


def test_a_zoo_that_is_not_there_is_named(tmp_path: Path, home: ServerHome) -> None:
    with pytest.raises(ConfigError, match="run zoo build"):
        points.load(Zoo(tmp_path), home.encoder_id())
