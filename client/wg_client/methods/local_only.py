"""Local-only: the best that the plant can do without the server. All others are held against it."""

from wg_client.methods import names
from wg_client.methods.base import LabelledRecords, Model, Package


class LocalOnly:
    """A head on the encoder, whatever the server sends."""

    name = names.LOCAL
    title = "local-only"
    reference = True

    def fit(self, records: LabelledRecords, package: Package) -> Model | None:
        """See ``Method``."""
        if records.local is None:
            return None
        return Model(trunk=records.public, fitted=records.local)
