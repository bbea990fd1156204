"""Local-only: the best model without the server, and the baseline of all others."""

from wg_client.methods import names
from wg_client.methods.base import LabelledRecords, Model, Package


class LocalOnly:
    """Method that fits a head on the encoder's features, whatever the server sends."""

    name = names.LOCAL
    title = "local-only"
    reference = True

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """Fit the model; see ``Method.fit``."""
        if records.local is None:
            return None
        return Model(trunk=records.public, fitted=records.local)
