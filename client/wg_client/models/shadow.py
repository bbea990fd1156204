"""Shadow model, which predicts alongside the model in use; its differences are only listed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wg_client.data.site_data import SiteData
from wg_client.models import adoption, predict
from wg_client.models.adoption import ModelReference
from wg_client.models.manifest import ModelsManifest
from wg_client.models.predict import ModelInputs, Prediction
from wg_core.site.home import ClientHome


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDifference:
    """Record to which the model in use and its shadow give different labels.

    Attributes:
        name: Name of the record.
        in_use: Label that the model in use predicts.
        probability: Probability that the model in use gives to its label.
        shadow: Label that the shadow model predicts.
        shadow_probability: Probability that the shadow model gives to its label.
    """

    name: str
    in_use: str
    probability: float
    shadow: str
    shadow_probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowModel:
    """The shadow model in one run of ``predict``.

    Attributes:
        manifest: Manifest of its package.
        model_name: Name of the model.
        shares_inputs: True if the shadow takes the same inputs as the model in use.
    """

    manifest: ModelsManifest
    model_name: str
    shares_inputs: bool

    @classmethod
    def find_shadow(
        cls, home: ClientHome, used_manifest: ModelsManifest, used_model_name: str
    ) -> ShadowModel | None:
        """Return the shadow model if the named model is in use and has a shadow, else None."""
        choice = ModelReference(
            package_id=used_manifest.package_id,
            model=used_manifest.find_entry(used_model_name).name,
        )
        shadow = adoption.shadow_model(home)
        if shadow is None or adoption.read_adoption_history(home).latest_change.in_use != choice:
            return None
        manifest, model = shadow
        shares_inputs = _model_input_key(used_manifest) == _model_input_key(manifest)
        return cls(manifest=manifest, model_name=model, shares_inputs=shares_inputs)

    def list_label_differences(
        self,
        home: ClientHome,
        data: SiteData,
        inputs: ModelInputs,
        predictions: Sequence[Prediction],
    ) -> list[LabelDifference]:
        """Return the records to which the shadow model gives another label.

        Args:
            inputs: Inputs of the model in use for these records.
            predictions: Predictions of the model in use.

        Raises:
            VerificationError: The shadow's file has changed, or it needs another encoder.
        """
        if not self.shares_inputs:
            inputs = predict.compute_model_inputs(home, self.manifest, data)
        shadow_rows = predict.predict(home, self.manifest, self.model_name, inputs, data.names)
        return [
            LabelDifference(
                name=row.name,
                in_use=row.label,
                probability=row.probability,
                shadow=shadow_row.label,
                shadow_probability=shadow_row.probability,
            )
            for row, shadow_row in zip(predictions, shadow_rows, strict=True)
            if row.label != shadow_row.label
        ]


def _model_input_key(manifest: ModelsManifest) -> tuple[object, ...]:
    return manifest.architecture, manifest.encoder, manifest.network, manifest.plant_trunk
