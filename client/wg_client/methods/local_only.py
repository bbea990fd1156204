"""Local-only: the best model without the server, and the baseline of all others."""

from wg_client.methods import method_names
from wg_client.methods.base import FittedMethod, PlantRecords, PreparedPackage


class LocalOnlyMethod:
    """Method that fits a head on the encoder's features, whatever the server sends."""

    name = method_names.LOCAL_ONLY
    title = "your own model"
    is_reference = True

    def fit(self, records: PlantRecords, package: PreparedPackage) -> FittedMethod | None:
        """Return the local-only model; None without labels."""
        if records.local_only_model is None:
            return None
        return FittedMethod(trunk=records.encoder_features, fitted_model=records.local_only_model)
