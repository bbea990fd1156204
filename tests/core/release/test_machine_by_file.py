"""Machine statistics by file: from a plant to its server's store, a package and an auditor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.client.conftest import MakePlant
from tests.core.connection.test_cosigning import World, make_world

from wg_audit import charge_derivation, dossier_answers, verification
from wg_audit.auditor_page import render_auditor_page
from wg_client.fitting.linear_head import LinearHead
from wg_core import snapshot as snapshots
from wg_core.errors import VerificationError
from wg_core.ledger import entries
from wg_core.ledger.entries import Charge
from wg_core.privacy.noisy_statistics import NoisyStatistics
from wg_core.privacy.schema import CLASS_STATISTICS, MACHINE_STATISTICS
from wg_core.release.query_answers import answer_query
from wg_core.wire import bundle
from wg_server.campaigns import airgap, release_intake
from wg_server.campaigns.release import PackageRecipient
from wg_server.campaigns.release_intake import QueryTerms
from wg_server.fleet.witness import LedgerWitness
from wg_server.store import site_refusals
from wg_server.store.server_store import ServerStore


@pytest.fixture
def world(make_plant: MakePlant, good_head: LinearHead, tmp_path: Path) -> World:
    world = make_world(make_plant, good_head, tmp_path)
    world.plant.state_machine()
    return world


def _file(world: World, epsilon: str = "4", statistics: Any = MACHINE_STATISTICS) -> Path:
    query = world.plant.query(epsilon=epsilon, statistics=statistics)
    path = world.folder / "machine.wgs"
    path.write_bytes(answer_query(world.plant.home, query, witness=None))
    return path


def test_a_package_is_made_for_the_machine_and_no_class_is_pooled(world: World) -> None:
    path, recipients = _file(world), []

    def make(_home: object, _pools: object, plant: PackageRecipient, *_rest: str) -> bytes:
        recipients.append(plant)
        return world.plant.package({"base": (world.head, "diffusion")})

    made = airgap.generate_from_file(world.server, path, world.folder / "x.wgw", make_package=make)
    (plant,) = recipients
    assert plant.labels == world.plant.config.data.labels
    assert plant.data_sheet == world.plant.config.data_sheet
    assert plant.statistics_kind == MACHINE_STATISTICS and plant.machine_statistics is not None
    snapshot = snapshots.load_current(world.plant.home)
    exact = NoisyStatistics(
        snapshot.schema(MACHINE_STATISTICS), snapshot.statistics(MACHINE_STATISTICS), 0.0
    )
    # eight standard deviations: false failure below 1e-13
    assert (
        np.abs(plant.machine_statistics.moments() - exact.moments()).max()
        < 8 * plant.machine_statistics.moment_std
    )
    with ServerStore.open(world.server) as store:
        assert store.require_release(made.release_id).statistics == MACHINE_STATISTICS
        assert (
            store.newest_usable_release_ids(
                encoder_sha256=world.plant.encoder, excluded_site="nobody"
            )
            == []
        )
        assert site_refusals.site_statuses_by_name(store, site_names=["plant-a"])[
            "plant-a"
        ].uses_files
        store.record_request_times({"plant-a": 1.0})
        assert not site_refusals.site_statuses_by_name(store, site_names=["plant-a"])[
            "plant-a"
        ].uses_files


@pytest.mark.parametrize(
    ("sent", "asked"),
    [(MACHINE_STATISTICS, CLASS_STATISTICS), (CLASS_STATISTICS, MACHINE_STATISTICS)],
)
def test_the_one_is_not_taken_for_the_other(world: World, sent: Any, asked: Any) -> None:
    plant = world.plant
    query = (
        plant.query(epsilon="1")
        if sent == CLASS_STATISTICS
        else plant.query(statistics=MACHINE_STATISTICS)
    )
    with ServerStore.open(world.server) as store:
        witness = LedgerWitness.open(world.server, store)
        site = store.require_site("plant-a")
        data = answer_query(
            plant.home, query, witness=lambda body: witness.cosign_extension(site, body)
        )
        terms = QueryTerms(
            encoder_sha256=plant.encoder, epsilon="1", delta="1e-5", statistics_kind=asked
        )
        with pytest.raises(VerificationError, match=f"statistics is {sent}, asked was {asked}"):
            release_intake.accept_release(site, data, terms, witness=witness, current_time=0.0)
        right = release_intake.accept_release(
            site, data, replace(terms, statistics_kind=sent), witness=witness, current_time=0.0
        )
        assert right.statistics == sent


def test_an_auditor_reads_in_words_what_was_charged_for(world: World) -> None:
    path = _file(world)
    finding = verification.audit_log(world.plant.home.root, statistics=[path])
    assert not finding.verdict.problems and len(finding.received_files) == 1
    (remark,) = [line for line in finding.remark_sentences if "machine statistics" in line]
    assert remark.endswith("without labels: 1")
    page = render_auditor_page(dossier_answers.read_log_records(world.plant.home.root, finding))
    assert "machine statistics without labels" in page and "data sheet" in page
    assert "counts 1, moments 32" in page


def test_a_ledger_of_classes_alone_says_nothing_of_machines(world: World) -> None:
    answer_query(world.plant.home, world.plant.query(), witness=None)
    finding = verification.audit_log(world.plant.home.root)
    assert not [line for line in finding.remark_sentences if "machine" in line]


def test_a_charge_for_a_machine_that_names_labels_is_refused(world: World) -> None:
    covered = bundle.decode_statistics(_file(world).read_bytes())
    charge = entries.decode(covered.charge_entry)
    assert isinstance(charge, Charge)
    charge_derivation.check_charge(charge)
    named = replace(charge, guarantee=replace(charge.guarantee, labels=("a",)))
    with pytest.raises(VerificationError, match="machine statistics, which have no labels"):
        charge_derivation.check_charge(named)
