"""Quality questions: what is asked of whom, and answers that are not what they should be."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.server.campaigns.nodes import Nodes, Stage, make_stage, refusal

from wg_common import weights_package
from wg_common.weights_package import Candidate, WeightsManifest
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.ledger import witness as witnesses
from wg_core.ledger.charging import quality_request
from wg_core.ledger.store import DatasetRecord, Ledger
from wg_core.privacy.mechanism import sigma_for
from wg_core.privacy.quality import WEIGHT, QualityLayout
from wg_core.wire import canonical, protocol, quality_file, signing
from wg_core.wire.covered import CoveredStatistics
from wg_core.wire.fleet import Envelope
from wg_core.wire.protocol import QualityQuery
from wg_core.wire.quality_file import Counts, QualityManifest
from wg_core.wire.statistics_file import integers_to_bytes
from wg_server.campaigns import quality, reasons
from wg_server.campaigns.intake import Asked
from wg_server.campaigns.starting import Order
from wg_server.cli.campaign import campaign as commands
from wg_server.site.home import ServerHome
from wg_server.store import quality as table
from wg_server.store import schema
from wg_server.store.campaigns import Campaign
from wg_server.store.quality import Subject
from wg_server.store.sites import Store

LABELS = ("good", "scratch", "pit")
ASKED = Asked(encoder="11" * 32, epsilon="1", delta="1e-5")
SITES = ("plant-a", "plant-b")


@dataclass
class Teller:
    """A plant with a real ledger, that says whatever a test likes."""

    site: Any
    folder: Path
    witness: Any
    key: Any = None
    log_key: Any = None

    def __post_init__(self) -> None:
        self.key, self.log_key = signing.generate(), signing.generate()
        self.origin = f"weightgate.example/{self.site}"

    def ledger(self) -> Ledger:
        path = self.folder / f"{self.site}.sqlite"
        if path.exists():
            return Ledger.open(path, self.log_key)
        made = Ledger.create(path, origin=self.origin, key=self.log_key, site=self.site)
        made.enrol_witness(self.witness.name, signing.public_bytes(self.witness.public_key))
        return made

    def report(
        self,
        subject: Subject,
        integers: NDArray[np.int64],
        *,
        charge: Callable[[dict[str, Any]], dict[str, Any]] = lambda fields: fields,
        said: Callable[[dict[str, Any]], dict[str, Any]] = lambda fields: fields,
    ) -> bytes:
        """A covered report: charged as ``charge`` changes it, and saying what ``said`` changes."""
        layout = QualityLayout(candidates=len(subject.candidates), unit_rule="record", unit_cap=1)
        terms: dict[str, Any] = {
            "request_id": secrets.token_hex(16),
            "dataset": "line",
            "epsilon": "1",
            "delta": "1e-5",
            "encoder": ASKED.encoder,
            "purpose": protocol.quality_purpose(subject.package_sha256, "pilot"),
        }
        charged = {**terms, "package": subject.package_sha256, "labels": LABELS}
        sigma = sigma_for(layout, 1.0, 1e-5)
        request = quality_request(layout, sigma, recipient="central", **charge(charged))
        fields = {
            **terms,
            "request_id": request.request_id,
            "layout": layout,
            "site": self.site,
            "release_id": secrets.token_hex(16),
            "package_id": subject.package_id,
            "package_sha256": subject.package_sha256,
            "candidates": subject.candidates,
            "sigma": request.mechanism.sigma,
            "sensitivity_squared": request.mechanism.sensitivity_squared,
            "integers_sha256": canonical.sha256_hex(integers_to_bytes(integers)),
        }
        manifest = QualityManifest(**said(fields))
        payload = quality_file.encode_report(manifest, integers, self.key)
        with self.ledger() as ledger:
            # another version of the data each time: else an equal report was made before
            record = DatasetRecord(
                name="line", commitment=secrets.token_hex(32), cap_epsilon="8", cap_delta="1e-5"
            )
            ledger.register_dataset(record)
            paid = ledger.charge(request)
            released = ledger.record_release(paid.seq, payload)
            name = self.witness.name
            ledger.countersign(name, lambda body: self.witness.sign(self, body))
            return quality_file.encode_covered(
                CoveredStatistics(
                    release=payload,
                    charge_entry=ledger.entry(paid.seq),
                    release_entry=ledger.entry(released.seq),
                    charge_proof=ledger.inclusion_proof(paid.seq, witness=name),
                    release_proof=ledger.inclusion_proof(released.seq, witness=name),
                )
            )


class Signer:
    """The server as a witness, without its store."""

    name = "central/w1"
    others: tuple[Any, ...] = ()
    quorum = 1

    def __init__(self) -> None:
        self._key = signing.generate()
        self.public_key = self._key.public_key()
        self._states: dict[str, Any] = {}

    def sign(self, teller: Teller, body: bytes) -> bytes:
        signed = witnesses.countersign(
            self._states.get(teller.site),
            body,
            origin=teller.origin,
            log_key=teller.log_key.public_key(),
            witness_name=self.name,
            witness_key=self._key,
            now=int(time.time()),
        )
        self._states[teller.site] = signed.state
        return signed.line


@pytest.fixture
def teller(tmp_path: Path) -> Teller:
    return Teller("plant-a", tmp_path, Signer())


def _subject(site: str = "plant-a", candidates: tuple[str, ...] = ("mean", "sample-0")) -> Subject:
    return Subject(
        site=site,
        delivery_id="dd" * 16,
        package_id="ef" * 16,
        package_sha256="22" * 32,
        conditioned=False,
        candidates=candidates,
    )


def _known(teller: Teller) -> Any:
    """The site as the server knows it."""
    return replace_site(
        name=teller.site,
        signing_key=signing.public_bytes(teller.key).hex(),
        ledger_origin=teller.origin,
        ledger_key=signing.public_bytes(teller.log_key).hex(),
    )


def replace_site(**fields: Any) -> Any:
    from wg_server.store.site import Site

    base = {"state": "enrolled", "node_key": "", "enrolled": 0.0, "last_seen": 0.0}
    return Site(**{**base, **fields})


def _integers(*counts: float) -> NDArray[np.int64]:
    return np.array([round(each * WEIGHT) for each in counts], dtype=np.int64)


def _accept(teller: Teller, data: bytes, subject: Subject | None = None, **asked: str) -> str:
    report, manifest, odd = quality.accept(
        _known(teller),
        data,
        subject or _subject(),
        replace(ASKED, **asked),
        witness=teller.witness,
        now=5.0,
    )
    assert report.data == data and report.received == 5.0 and manifest.site == teller.site
    return odd


def test_an_honest_report_is_taken(teller: Teller) -> None:
    assert _accept(teller, teller.report(_subject(), _integers(120, 85, 40))) == ""
    # noise makes counts negative, and more right than labelled
    assert _accept(teller, teller.report(_subject(), _integers(-9, 4, -12))) == ""


@pytest.mark.parametrize(
    "counts", [(-80, 0, 0), (120, 240, 0), (120, 0, -80), (-(2**52), 0, 0), (0, 2**52, 0)]
)
def test_counts_that_cannot_be_are_told_apart(teller: Teller, counts: tuple[int, ...]) -> None:
    assert _accept(teller, teller.report(_subject(), _integers(*counts))) == quality.IMPLAUSIBLE


def test_an_honest_report_is_hardly_ever_called_implausible() -> None:
    rng = np.random.default_rng(4)
    for labelled in (0, 30):
        for _ in range(2000):
            noise = rng.normal(0, 4.0, 3)
            counts = Counts(labelled + noise[0], {"a": labelled + noise[1], "b": noise[2]}, 4.0)
            assert quality.plausible(counts)


def test_an_answer_to_another_question_is_refused(teller: Teller) -> None:
    data = teller.report(_subject(), _integers(120, 85, 40))
    with pytest.raises(VerificationError, match="epsilon"):
        _accept(teller, data, epsilon="2")
    with pytest.raises(VerificationError, match="delta"):
        _accept(teller, data, delta="1e-6")
    with pytest.raises(VerificationError, match="encoder"):
        _accept(teller, data, encoder="33" * 32)
    for change in (
        {"package_sha256": "33" * 32},
        {"package_id": "33" * 16},
        {"candidates": ("mean", "sample-1")},
        {"candidates": ("sample-0", "mean")},
    ):
        with pytest.raises(VerificationError, match="asked was"):
            _accept(teller, data, replace(_subject(), **change))


def test_a_report_that_its_ledger_does_not_pay_for_is_refused(teller: Teller) -> None:
    def other(**change: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
        return lambda fields: {**fields, **change}

    integers = _integers(120, 85, 40)
    for words, lie in (
        ("package", {"charge": other(package="33" * 32)}),
        ("purpose", {"charge": other(purpose="weights")}),
        ("request id", {"said": other(request_id="33" * 16)}),
        ("data set", {"said": other(dataset="other")}),
        ("encoder", {"charge": other(encoder="33" * 32)}),
    ):
        with pytest.raises(VerificationError, match=words):
            _accept(teller, teller.report(_subject(), integers, **lie))
    more = _subject(candidates=("mean", "sample-0", "sample-1"))
    data = quality_file.decode_covered(teller.report(more, _integers(120, 1, 2, 3)))
    fewer = quality_file.decode_covered(teller.report(_subject(), integers))
    with pytest.raises(VerificationError):
        _accept(teller, quality_file.encode_covered(replace(fewer, release=data.release)), more)


def test_another_plants_or_anybodys_bytes_are_refused(teller: Teller, tmp_path: Path) -> None:
    data = teller.report(_subject(), _integers(120, 85, 40))
    other = Teller("plant-b", tmp_path, teller.witness)
    theirs = other.report(_subject("plant-b"), _integers(120, 85, 40))
    with pytest.raises(VerificationError):
        _accept(teller, theirs)
    stolen = Teller("plant-a", tmp_path, Signer())  # no witness of ours saw this ledger
    stolen.key, stolen.log_key, stolen.folder = teller.key, teller.log_key, tmp_path / "x"
    stolen.folder.mkdir()
    with pytest.raises(VerificationError):
        _accept(teller, stolen.report(_subject(), _integers(1, 1, 1)))
    for garbage in (b"", b"garbage", data[:-1], data[:200] + b"\x00" + data[201:], data + b"x"):
        with pytest.raises((DecodeError, VerificationError)):
            _accept(teller, garbage)


# --- campaigns


def _package(home: ServerHome, site: str, delivery: str, **changes: Any) -> str:
    heads = changes.pop("heads", ("mean", "kin"))
    tensors = weights_package.pack_tensors(
        {name: {"head.weight": np.zeros((3, 8), np.float32)} for name in heads}
    )
    sources = {"kin": "kin", "posterior": "posterior"}
    fields: dict[str, Any] = {
        "package_id": secrets.token_hex(16),
        "request_id": delivery,
        "site": site,
        "architecture": "lite0-head",
        "plan": "head",
        "encoder": "e",
        "generator": "0" * 64,
        "labels": LABELS,
        "own_release": "ab" * 16,
        "memory_releases": (),
        "candidates": tuple(
            Candidate(name=name, source=sources.get(name, "network"), nearest_zoo_distance="0")  # type: ignore[arg-type]
            for name in heads
        ),
        "tensors_sha256": hashlib.sha256(tensors).hexdigest(),
        "created": 1,
        "expires": 2,
        **changes,
    }
    data = weights_package.encode(
        WeightsManifest(**fields), tensors, signing.load(home.signing_key)
    )
    home.package(delivery).parent.mkdir(parents=True, exist_ok=True)
    home.package(delivery).write_bytes(data)
    return canonical.sha256_hex(data)


@pytest.fixture
def stage(home: ServerHome, store: Store, monkeypatch: pytest.MonkeyPatch) -> Stage:
    home.encoder.parent.mkdir(parents=True, exist_ok=True)
    home.encoder.write_bytes(b"an encoder")
    return make_stage(home, store, monkeypatch, Nodes())


def _delivered(stage: Stage, *sites: str, **changes: Any) -> Campaign:
    """A campaign of before, whose packages these sites have."""
    found = stage.start(SITES)
    for task in found.tasks:
        if task.site in sites:
            digest = _package(stage.home, task.site, task.delivery_id, **changes)
            stage.queue.update(found.id, task.site, state="delivered", package_sha256=digest)
    return stage.queue.finish(found.id)


def test_sites_are_asked_about_the_package_that_they_have(stage: Stage) -> None:
    before = _delivered(stage, "plant-a")
    found, left = quality.start(stage.home, stage.store, Order(purpose="pilot"), about=before.id)
    assert found.about == before.id and [task.site for task in found.tasks] == ["plant-a"]
    assert left == {"plant-b": "has no package from there (expired)"}
    ((subject, report),) = table.parts(stage.store.engine, found.id).values()
    assert report is None and subject.candidates == ("mean",) and subject.conditioned
    assert subject.delivery_id == before.task("plant-a").delivery_id
    asked: list[QualityQuery] = []

    def answer(envelope: Envelope) -> Envelope:
        query = canonical.decode(QualityQuery, envelope.record, what="quality")
        asked.append(query)
        return refusal("budget")

    stage.nodes.answers = {"plant-a": answer}
    with stage.working():
        assert stage.ended(found) == {"plant-a": ("refused", "budget")}
    assert stage.queue.show(found.id).state == "partial"
    assert asked[0].package_sha256 == subject.package_sha256 and asked[0].purpose == "pilot"
    assert asked[0].package_id == subject.package_id
    assert stage.nodes.asked == [("plant-a", "quality")]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": ("kin", "posterior")}, "0 candidates"),
        ({"heads": tuple(f"c{i}" for i in range(65))}, "65 candidates"),
        ({"architecture": "cnn-s"}, "whole networks"),
    ],
)
def test_packages_that_cannot_be_counted_are_named(
    stage: Stage, changes: dict[str, Any], words: str
) -> None:
    before = _delivered(stage, "plant-a", **changes)
    with pytest.raises(ConfigError, match=words):
        quality.start(stage.home, stage.store, Order(), about=before.id)


def test_what_cannot_be_asked_is_an_error_that_says_why(stage: Stage) -> None:
    before = _delivered(stage, "plant-a", "plant-b")
    start = quality.start
    with pytest.raises(ConfigError, match="unknown"):
        start(stage.home, stage.store, Order(), about="0" * 32)
    with pytest.raises(ConfigError, match="has no site plant-z"):
        start(stage.home, stage.store, Order(sites=("plant-z",)), about=before.id)
    found, _ = start(stage.home, stage.store, Order(sites=("plant-a",)), about=before.id)
    with pytest.raises(ConfigError, match="delivered none"):
        start(stage.home, stage.store, Order(), about=found.id)
    path = stage.home.package(before.task("plant-a").delivery_id)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ConfigError, match="plant-a: it has another package"):
        start(stage.home, stage.store, Order(sites=("plant-a",)), about=before.id)
    path.unlink()
    with pytest.raises(ConfigError, match="not kept here any more"):
        start(stage.home, stage.store, Order(sites=("plant-a",)), about=before.id)
    _, left = start(stage.home, stage.store, Order(), about=before.id)
    assert list(left) == ["plant-a"]


def _asked(
    stage: Stage, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Campaign, dict[str, Teller], Signer]:
    """A campaign about packages of sites that have real ledgers."""
    before = _delivered(stage, *SITES, heads=("mean", "sample-0"))
    signer = Signer()
    tellers = {site: Teller(site, folder, signer) for site in SITES}
    with stage.store.engine.begin() as connection:
        for site, each in tellers.items():
            known = _known(each)
            connection.execute(
                schema.site.update()
                .where(schema.site.c.name == site)
                .values(
                    signing_key=known.signing_key,
                    ledger_origin=known.ledger_origin,
                    ledger_key=known.ledger_key,
                )
            )
    monkeypatch.setattr(type(stage.home), "encoder_id", lambda home: ASKED.encoder)
    found, _ = quality.start(stage.home, stage.store, Order(purpose="pilot"), about=before.id)
    return found, tellers, signer


def test_answers_are_kept_shown_and_summed(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    found, tellers, signer = _asked(stage, tmp_path, monkeypatch)
    parts = table.parts(stage.store.engine, found.id)
    counts = {"plant-a": (120, 85, 40), "plant-b": (60, 50, -200)}

    def answer(site: str) -> Callable[[Envelope], Envelope]:
        subject = parts[site][0]
        return lambda asked: Envelope(
            "quality", b"", tellers[site].report(subject, _integers(*counts[site]))
        )

    stage.nodes.answers = {site: answer(site) for site in SITES}
    monkeypatch.setattr("tests.server.campaigns.nodes.CampaignWorker", _with(signer))
    with stage.working():
        ended = stage.ended(found)
    assert ended == {"plant-a": ("answered", ""), "plant-b": ("failed", "implausible")}
    done = stage.queue.show(found.id)
    assert done.state == "partial" and reasons.of_campaign(done, 0.0).startswith("1 of 2 sites")
    (report,) = quality.reports(stage.store, done)
    assert report.site == "plant-a" and report.counts.labelled == 120 and report.conditioned
    # what cannot be is kept all the same: an auditor may want it
    assert len(table.reports(stage.store.engine, "plant-b")) == 1
    counts["plant-b"] = (60, 50, 10)
    stage.queue.retry(found.id, "plant-b")
    with stage.working():
        stage.wait(found, lambda each: each.finished is not None and each.state == "done")
    done = stage.queue.show(found.id)
    both = quality.together(quality.reports(stage.store, done))
    number, whole = both["mean"]
    assert number == 2 and whole.labelled == 180 and whole.right["mean"] == 135
    std = report.counts.std
    assert whole.std == pytest.approx(std * 2**0.5)
    rate = whole.rate("mean")
    assert rate is not None and rate[0] == 0.75
    assert rate[1] == pytest.approx(std * 2**0.5 * 1.25 / 180)
    (figure,) = quality.figures(whole)
    assert quality.said(figure, "en") == "75 % ± 6" == quality.said(figure, "ja")
    commands.main(["show", "--home", str(stage.home.root), found.id], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "plant-a: about 120 labelled records (± 6)" in shown
    assert "mean                     71 % ± 7" in shown
    assert "together, 2 sites" in shown and "local figures are not known" in shown


def _with(signer: Signer) -> Any:
    """The worker, with the test's witness in the place of the server's."""
    from wg_server.campaigns.worker import CampaignWorker

    def make(home: Any, config: Any, store: Any, nodes: Any, _: Any, *rest: Any) -> CampaignWorker:
        return CampaignWorker(home, config, store, nodes, signer, *rest)  # type: ignore[arg-type]

    return make


def test_counts_of_too_few_labels_are_no_figure() -> None:
    counts = Counts(labelled=9.0, right={"mean": 8.0}, std=6.0)
    (figure,) = quality.figures(counts)
    assert figure.rate is None
    assert quality.said(figure, "en").startswith("unknown")
    assert quality.said(figure, "ja").startswith("不明")
