"""The registry entry has every field of the registry's schema, and says what it cannot know."""

from __future__ import annotations

import dataclasses
import json
import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from click.testing import CliRunner

from wg_audit import registry, verification
from wg_audit.cli import group
from wg_core.errors import ConfigError, VerificationError
from wg_core.ledger.anchors import Anchors, KnownWitness

if TYPE_CHECKING:
    from tests.core.ledger.conftest import Site

# Fields of opendp/deployments-registry-data, schemas/deployments-schema.yaml, of November 2025: all
# that tiers 1 to 3 have, with type and words that are allowed. Nothing else may stand in an entry.
TEXT, TEXTS, NUMBER, INTEGER = "text", "texts", "number", "integer"
FIELDS: dict[str, str | tuple[str, ...]] = {
    "url_slug": TEXT,
    "status": ("Converted", "Draft", "Pending", "Changes Required", "Approved"),
    "tier": INTEGER,
    "deployment.basic.name": TEXT,
    "deployment.basic.data_curators": TEXTS,
    "deployment.basic.intended_use": TEXT,
    "deployment.basic.data_product_type": (
        "Summary statistics",
        "Machine learning model",
        "Dataset",
        "Synthetic data",
        "Interactive API",
        "SQL queries",
    ),
    "deployment.basic.data_product_region": TEXT,
    "deployment.basic.description": TEXT,
    "deployment.basic.publication_date": TEXT,
    "deployment.dp_variant.variant_name": (
        "Pure DP",
        "Approximate DP",
        "Zero-concentrated DP",
        "Renyi DP",
        "Custom",
    ),
    "deployment.dp_variant.data_domain": TEXT,
    "deployment.dp_variant.unprotected_quantities": TEXT,
    "deployment.privacy_loss.privacy_unit": TEXT,
    "deployment.privacy_loss.privacy_unit_details": TEXT,
    "deployment.privacy_loss.privacy_parameters.epsilon": NUMBER,
    "deployment.privacy_loss.privacy_parameters.delta": NUMBER,
    "deployment.privacy_loss.privacy_parameters_details": TEXT,
    "deployment.deployment_model.model_name": (
        "Local",
        "Central",
        "Shuffle",
        "Federated",
        "Varies",
    ),
    "deployment.deployment_model.model_name_details": TEXT,
    "deployment.deployment_model.actors": TEXT,
    "deployment.deployment_model.release_type": ("One release", "Many releases"),
    "deployment.deployment_model.release_type_details": TEXT,
    "deployment.deployment_model.data_source_type": ("Static", "Dynamic"),
    "deployment.deployment_model.data_source_type_details": TEXT,
    "deployment.deployment_model.access_type": ("Interactive", "Non-interactive"),
    "deployment.deployment_model.access_type_details": TEXT,
    "deployment.accounting.post_processing": TEXT,
    "deployment.accounting.composition": TEXT,
    "deployment.implementation.preprocessing_and_hyperparameter_tuning": TEXT,
    "deployment.implementation.mechanisms": TEXT,
    "deployment.implementation.justification": TEXT,
    "deployment.administrative.sources": TEXT,
    "deployment.administrative.notes": TEXT,
    "deployment.administrative.registry_authors": TEXTS,
}
# A log cannot know these; the sector is optional, and its list has no word for manufacturing.
BY_A_PERSON = {
    "deployment.administrative.registry_authors",
    "deployment.administrative.sources",
    "deployment.basic.data_curators",
    "deployment.basic.data_product_region",
    "deployment.basic.data_product_sector",
    "deployment.implementation.justification",
    "deployment.implementation.preprocessing_and_hyperparameter_tuning",
}
# Layers of the pyramid of NIST SP 800-226, figure 1.
LAYERS = ("Unit of privacy", "Utility", "Bias", "Side channels", "Data collection exposure")


def _leaves(node: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(node, dict):
        return {path: node}
    found: dict[str, Any] = {}
    for key, value in node.items():
        found |= _leaves(value, f"{path}.{key}" if path else key)
    return found


def _check(value: object, kind: str | tuple[str, ...]) -> bool:
    if isinstance(kind, tuple):
        return value in kind
    if kind == TEXTS:
        return isinstance(value, list) and bool(value) and all(isinstance(v, str) for v in value)
    if kind == INTEGER:
        return value in (1, 2, 3)
    if kind == NUMBER:
        return isinstance(value, float) and value > 0
    return isinstance(value, str) and bool(value.strip())


@pytest.fixture
def home(site: Site) -> Path:
    """Two releases and a burned charge; the data set changed once; a witness saw the first one."""
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.cosign(ledger)
        site.register(ledger, "parts", b"other data")
        ledger.charge(site.request("r2", "0.25"))
        site.release(ledger, "r3", "0.5")
    return site.folder


def test_an_entry_has_every_field_of_the_registry_and_no_other(home: Path) -> None:
    document = yaml.safe_load(registry.write(home, verification.verify(home)).to_yaml())
    leaves = _leaves(document)
    assert leaves.keys() == FIELDS.keys()
    wrong = [path for path, kind in FIELDS.items() if not _check(leaves[path], kind)]
    assert not wrong
    date.fromisoformat(leaves["deployment.basic.publication_date"])
    assert re.fullmatch(r"[a-z0-9-]+", document["url_slug"])


def test_what_a_log_cannot_know_is_left_and_named(home: Path) -> None:
    entry = registry.write(home, verification.verify(home))
    assert set(entry.missing) == BY_A_PERSON
    assert entry.to_yaml().count(registry.BY_A_PERSON) == len(BY_A_PERSON) - 1


def test_an_entry_says_what_the_log_costs_and_rounds_up(home: Path) -> None:
    leaves = _leaves(registry.write(home, verification.verify(home)).document)
    (account,) = verification.verify(home).accounts
    stated = leaves["deployment.privacy_loss.privacy_parameters.epsilon"]
    assert account.primary <= stated < account.primary + 2e-4
    assert leaves["deployment.privacy_loss.privacy_parameters.delta"] == account.delta
    details = leaves["deployment.privacy_loss.privacy_parameters_details"]
    assert "3 charges, 1 of them without a release" in details
    assert leaves["deployment.deployment_model.data_source_type"] == "Dynamic"
    assert leaves["deployment.deployment_model.release_type"] == "Many releases"
    assert leaves["deployment.privacy_loss.privacy_unit"] == "record"
    assert "add-remove" in leaves["deployment.privacy_loss.privacy_unit_details"]


def test_an_entry_goes_through_the_layers_of_nist(home: Path) -> None:
    notes = _leaves(registry.write(home, verification.verify(home)).document)[
        "deployment.administrative.notes"
    ]
    assert all(f"- {layer}, " in notes for layer in LAYERS)
    assert "- Access control, access to the records: not evidenced" in notes
    assert "the key is the log's own word" in notes


def test_the_date_is_that_of_a_known_witness_and_else_the_sites(site: Site) -> None:
    with site.create() as ledger:
        site.release(ledger, "r1", "1")
        site.now += 10 * 86_400
        site.cosign(ledger)
    known = KnownWitness("server.example/witness", site.witness_key.public_key().raw)
    path = "deployment.basic.publication_date"
    assert (
        _leaves(registry.write(site.folder, verification.verify(site.folder)).document)[path]
        == "2023-11-14"
    )
    anchored = registry.write(
        site.folder, verification.verify(site.folder, Anchors(witnesses=(known,)))
    )
    assert _leaves(anchored.document)[path] == "2023-11-24"


def test_a_log_without_a_release_is_no_deployment(site: Site) -> None:
    with site.create() as ledger:
        ledger.charge(site.request("r1", "1"))
    with pytest.raises(ConfigError, match="nothing was released"):
        registry.write(site.folder, verification.verify(site.folder))


def test_a_log_that_does_not_hold_gets_no_entry(home: Path) -> None:
    with pytest.raises(VerificationError):
        verification.verify(home, Anchors(ledger_key=bytes(32)))


def test_a_hostile_purpose_is_one_short_line(site: Site) -> None:
    request = site.request("r1", "1")
    use = dataclasses.replace(request.use, purpose="x\n- status: Approved\u2028" + "y" * 4000)
    with site.create() as ledger:
        charged = ledger.charge(dataclasses.replace(request, use=use))
        ledger.record_release(charged.seq, b"payload")
    found = _leaves(registry.write(site.folder, verification.verify(site.folder)).document)[
        "deployment.basic.intended_use"
    ]
    assert len(found.splitlines()) == 1 and len(found) < 400


def test_the_command_writes_the_file_and_names_what_is_missing(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "entry.yaml"
    words = ["verify", str(home), "--registry", str(out)]
    done = CliRunner().invoke(group, words)
    assert done.exit_code == 0 and yaml.safe_load(out.read_text("utf-8"))["status"] == "Draft"
    assert all(f"for a person: {name}" in done.stderr for name in BY_A_PERSON)
    assert yaml.safe_load(out.read_text("utf-8"))["tier"] == 3
    document = json.loads(CliRunner().invoke(group, [*words, "--json"]).stdout)
    assert set(document["missing"]) == BY_A_PERSON
