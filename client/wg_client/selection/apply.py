"""Application of a weights package, once: verification, model selection, storage of models.

Nothing of a package is used before its signature, hashes, recipient, encoder and labels are
verified. A package that was applied before is not trained again: its stored result is returned,
even after it expired. A crash leaves either no models' folder or a complete one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wg_client.data.recipient_plant import RecipientPlant, StepProgressCallback
from wg_client.fitting.sure_calls import (
    LARGEST_SURE_CALL_BOUND,
    provable_wrong_share,
    sure_call_threshold,
)
from wg_client.methods.base import PlantNetwork
from wg_client.methods.package import prepare_package
from wg_client.models import novelty, pass_rule, store
from wg_client.models.manifest import ModelEntry, ModelsManifest, NetworkFile
from wg_client.selection.model_selection import SelectionOutcome, select_model
from wg_common import catalogue, weights_file
from wg_common.inference.hostile_tensors import Tensors
from wg_common.language import Text, english_text
from wg_common.modalities.registry import find_modality
from wg_common.weights_package import GeneratorCondition, WeightsManifest
from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError, VerificationError
from wg_core.site.home import ClientHome
from wg_core.wire import canonical, signing

if TYPE_CHECKING:  # torch: seconds to import, only when needed
    from wg_common.nets.encoder.plant_trunk import PlantTrunk

TensorsByFile = dict[str, dict[str, NDArray[np.float32]]]
"""Tensors of each file of a package's models, by file name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedModel:
    """Result of applying a weights package.

    Attributes:
        manifest: Manifest of the models: provenance, findings and the kept model.
        outcome: Result of the selection, for the report; None: the package had been applied before.
        advice_sentences: Sentences for the owner: recommendation, its reason, and the decision on
            the model in use unless this is the first; empty if no report was written.
    """

    manifest: ModelsManifest
    outcome: SelectionOutcome | None = None
    advice_sentences: tuple[Text, ...] = ()

    @property
    def was_applied_before(self) -> bool:
        """True if the package had been applied before this call."""
        return self.outcome is None

    @property
    def keeps_delivered_model(self) -> bool:
        """True if delivered weights were kept, unchanged or fine-tuned."""
        return self.manifest.keeps_delivered_model


def apply_package(
    home: ClientHome,
    plant: RecipientPlant,
    package_bytes: bytes,
    *,
    clock: Callable[[], float] = time.time,
    progress: StepProgressCallback | None = None,
    on_verified: Callable[[bytes], object] = lambda data: None,
) -> AppliedModel:
    """Verify a package, compare the models that can be made with it, and keep one.

    Args:
        home: The plant's home.
        plant: The opened plant.
        package_bytes: Bytes of the ``.wgw`` file.
        clock: Returns Unix time, seconds.
        progress: Receives the progress of the comparison.
        on_verified: Receives the package's bytes once they are verified, before any model is made.

    Raises:
        DecodeError: The bytes are not a weights package, or an architecture is unknown.
        VerificationError: Signature, hash, recipient, encoder or labels are wrong, or the package
            has expired.
        NotAcceptedError: There are no labels to check the models, and the policy requires them.
    """
    package, tensors = verify_package(plant, package_bytes)
    on_verified(package_bytes)
    digest = canonical.sha256_hex(package_bytes)
    stored_manifest = store.read_manifest(home, package.package_id)
    if stored_manifest is not None:
        if stored_manifest.package_sha256 != digest:
            raise VerificationError(f"package {package.package_id[:16]}: other bytes than before")
        return AppliedModel(manifest=stored_manifest)
    if clock() >= package.expires:
        raise VerificationError(
            f"package {package.package_id[:16]}: expired at {package.expires}, it is {clock():.0f}"
        )
    path = home.packages / f"{package.package_id}.wgw"
    atomic.write_bytes(path, package_bytes, mode=atomic.PRIVATE_FILE_MODE)
    records, contents = prepare_package(plant, package, tensors)
    policy = plant.acceptance_policy
    outcome = select_model(records, contents, policy, package.labels, progress)
    manifest, files = build_manifest_and_files(
        plant, outcome, package_id=package.package_id, applied_time=int(clock()), package=package
    )
    manifest = _add_network(replace(manifest, package_sha256=digest), files, contents.network)
    store.write_models(home, manifest, files)
    return AppliedModel(manifest=manifest, outcome=outcome)


def verify_package(
    plant: RecipientPlant, package_bytes: bytes
) -> tuple[WeightsManifest, Mapping[str, Tensors]]:
    """Decode a package and check all but its times; return manifest and candidates' tensors.

    Raises:
        DecodeError: The bytes are not a weights package, or an architecture is unknown.
        VerificationError: Signature, hash, recipient, encoder or labels are wrong, or an
            architecture is for another modality.
    """
    key = signing.public_from_hex(plant.server_public_key, input_name="server.signing_key")
    package, tensors = weights_file.decode_weights_package(package_bytes, key)
    short = package.package_id[:16]
    check_recipient(plant, package)
    for candidate in package.candidates:
        try:
            architecture = catalogue.find_architecture(candidate.architecture)
        except ConfigError as error:
            raise DecodeError(f"package {short}: candidate {candidate.name}: {error}") from error
        if architecture.modality != plant.data.modality:
            raise VerificationError(
                f"package {short}: candidate {candidate.name}: architecture {architecture.name} is"
                f" for {architecture.modality}, this plant has {plant.data.modality}"
            )
    return package, tensors


def check_recipient(plant: RecipientPlant, manifest: WeightsManifest) -> None:
    """Check that a package is for this plant, encoder and label domain.

    Raises:
        VerificationError: The package is for another plant, encoder or label domain.
        DecodeError: The id of the package is not valid.
    """
    for field, value, want in (
        ("site", manifest.site, plant.site_name),
        ("encoder", manifest.encoder, plant.encoder_sha256),
        ("labels", manifest.labels, plant.data.label_names),
    ):
        if value != want:
            raise VerificationError(
                f"package {manifest.package_id[:16]}: {field} is {value!r}, this plant has {want!r}"
            )
    store.check_package_id(manifest.package_id)


def build_manifest_and_files(
    plant: RecipientPlant,
    outcome: SelectionOutcome,
    *,
    package_id: str,
    applied_time: int,
    package: WeightsManifest | None = None,
) -> tuple[ModelsManifest, TensorsByFile]:
    """Build the manifest and the files of all fitted models.

    Args:
        package_id: Name of the models' folder: the package's id; without a package, any hex id.
        applied_time: Unix time, seconds.
        package: Manifest of the applied package; None: no package, so that the model is local-only.
    """
    candidates = () if package is None else package.candidates
    sources = {candidate.name: candidate.source for candidate in candidates}
    files = {name: model.tensors() for name, model in outcome.models.items()}
    models = [_model_entry(name, outcome, files[name], sources) for name in outcome.models]
    comparison = outcome.comparisons.get(outcome.kept_name)
    labels = plant.data.label_names
    manifest = ModelsManifest(
        package_id=package_id,
        package_sha256="",
        request_id="" if package is None else package.request_id,
        architecture=find_modality(plant.data.modality).head_architecture,
        encoder=plant.encoder_sha256,
        generator="" if package is None else package.generator,
        labels=labels,
        own_release="" if package is None else package.own_release,
        pool_root="" if package is None else package.pool_root,
        pool_releases=0 if package is None else package.pool_releases,
        commitment=plant.commitment,
        applied=applied_time,
        kept=outcome.kept_name,
        reason=english_text(outcome.reason),
        gain=0.0 if comparison is None else comparison.gain.accuracy_gain,
        models=tuple(models),
        findings=tuple(
            replace(finding, message=english_text(finding.message)) for finding in outcome.findings
        ),
        sure=_sure_call_thresholds(outcome),
        judged_labels=len(outcome.labels),
        unseen=outcome.unseen_labels(labels),
        candidates=tuple(candidate.name for candidate in candidates),
        condition=GeneratorCondition() if package is None else package.condition,
    )
    manifest = _add_plant_trunk(manifest, files, outcome.records.plant_trunk)
    return _add_novelty_test(plant, _add_out_of_fold_logits(outcome, manifest, files), files), files


def _add_plant_trunk(
    manifest: ModelsManifest, files: TensorsByFile, trunk: PlantTrunk | None
) -> ModelsManifest:
    """Add the trunk fitted at the plant to the files of a package's models."""
    if trunk is None:
        return manifest
    files[store.PLANT_TRUNK_NAME] = trunk.tensors()
    sha256 = canonical.sha256_hex(store.encode_tensors(files[store.PLANT_TRUNK_NAME]))
    return replace(manifest, plant_trunk=sha256)


def _add_network(
    manifest: ModelsManifest, files: TensorsByFile, network: PlantNetwork | None
) -> ModelsManifest:
    """Add the delivered network alongside the encoder to the files of a package's models."""
    if network is None:
        return manifest
    files[store.NETWORK_NAME] = {
        f"{network.architecture}.{name}": value for name, value in network.trunk_tensors.items()
    }
    sha256 = canonical.sha256_hex(store.encode_tensors(files[store.NETWORK_NAME]))
    return replace(manifest, network=NetworkFile(architecture=network.architecture, sha256=sha256))


def _model_entry(
    name: str,
    outcome: SelectionOutcome,
    tensors: Mapping[str, NDArray[np.float32]],
    source_by_candidate: Mapping[str, str],
) -> ModelEntry:
    """Return the manifest entry of one model."""
    model, accuracy = outcome.models[name], outcome.estimate_accuracy(name)
    return ModelEntry(
        name=name,
        sha256=canonical.sha256_hex(store.encode_tensors(dict(tensors))),
        origin=model.origin_candidate,
        source=source_by_candidate.get(model.origin_candidate, ""),
        settings=model.fitted_model.settings,
        accuracy=None if accuracy is None else accuracy.mean,
        error=None if accuracy is None else accuracy.standard_error,
    )


def _add_out_of_fold_logits(
    outcome: SelectionOutcome, manifest: ModelsManifest, files: TensorsByFile
) -> ModelsManifest:
    """Add the models' out-of-fold logits, from which pass rules are made, to the stored files."""
    logits = {name: model.fitted_model.logits for name, model in outcome.models.items()}
    tensors = pass_rule.out_of_fold_tensors(logits, outcome.records)
    if not tensors:
        return manifest
    files[store.OUT_OF_FOLD_NAME] = tensors
    return replace(manifest, judged_file=canonical.sha256_hex(store.encode_tensors(tensors)))


def _add_novelty_test(
    plant: RecipientPlant, manifest: ModelsManifest, files: TensorsByFile
) -> ModelsManifest:
    """Fit a novelty test on the plant's records, and add its tensors to the stored files."""
    measure = novelty.fit_novelty_test(
        plant.features.local_features, plant.layout, plant.data.privacy_units
    )
    if measure is None:
        return manifest
    files[store.NOVELTY_NAME] = measure.tensors()
    return replace(
        manifest, novelty=canonical.sha256_hex(store.encode_tensors(files[store.NOVELTY_NAME]))
    )


def _sure_call_thresholds(outcome: SelectionOutcome) -> dict[str, float]:
    """Return the least probability of a sure call for each model evaluated out of fold, by name."""
    wrong = provable_wrong_share(len(outcome.labels))
    if wrong > LARGEST_SURE_CALL_BOUND:
        return {}
    return {
        name: sure_call_threshold(
            model.fitted_model.logits, outcome.labels, wrong, outcome.records.unseen_mass
        )
        for name, model in outcome.models.items()
        if model.fitted_model.logits is not None
    }
