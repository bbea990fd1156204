"""The model in shadow predicts beside the one in use: differences are listed, no call changes.

``models/shadow.json`` holds how often the two agreed, and the newest differences, since this pair
began; another pair begins anew. It names records, and stays at the plant.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from wg_client.data.site_data import SiteData
from wg_client.models import adoption, predict, store
from wg_client.models.adoption import Chosen
from wg_client.models.manifest import ModelsManifest
from wg_client.models.predict import Prediction
from wg_client.models.sight import Inputs
from wg_core import atomic
from wg_core.site import locks
from wg_core.site.home import ClientHome
from wg_core.wire import canonical

VERSION = 1
FILE = "shadow.json"
DIFFERENCES_LIMIT = 1000  # Most differences that are kept, the newest
_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A record that the two call differently.

    Attributes:
        name: Of the record.
        in_use: Label of the model in use.
        probability: Its probability.
        shadow: Label of the shadow.
        shadow_probability: Its probability.
        when: Unix time, seconds.
    """

    name: str
    in_use: str
    probability: float
    shadow: str
    shadow_probability: float
    when: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What came of a shadow so far.

    Attributes:
        in_use: The model that decides.
        shadow: The one beside it.
        compared: Predictions of both; a record that was predicted twice counts twice.
        differ: Of these, how many labels differ.
        differences: The newest, oldest first.
    """

    version: int = VERSION
    in_use: Chosen
    shadow: Chosen
    compared: int = 0
    differ: int = 0
    differences: tuple[Difference, ...] = ()


def read(home: ClientHome) -> Comparison | None:
    """What came of the shadow that there is; None if there is none.

    Raises:
        DecodeError: The file is damaged, or of another version.
    """
    state = adoption.read(home).now
    if state.in_use is None or state.shadow is None:
        return None
    fresh = Comparison(in_use=state.in_use, shadow=state.shadow)
    path = home.models / FILE
    if not path.is_file():
        return fresh
    data = atomic.read_bytes(path, limit=_LIMIT)
    comparison = canonical.decode(Comparison, data, subject=str(path), limit=_LIMIT)
    same_pair = (comparison.in_use, comparison.shadow) == (fresh.in_use, fresh.shadow)
    return comparison if same_pair else fresh


def _sees_with(manifest: ModelsManifest) -> tuple[object, ...]:
    return manifest.architecture, manifest.encoder, manifest.network


class Beside:
    """The shadow of one run of ``predict``."""

    def __init__(self, home: ClientHome, used: ModelsManifest, manifest: ModelsManifest) -> None:
        self._home = home
        self._manifest = manifest
        self._shares_inputs = _sees_with(used) == _sees_with(manifest)
        self._compared = 0
        self._found: list[Difference] = []

    @classmethod
    def of_home(cls, home: ClientHome, used: ModelsManifest, name: str) -> Beside | None:
        """The shadow of a model, if it is the one in use and has one."""
        state = adoption.read(home).now
        chosen = Chosen(package_id=used.package_id, model=used.entry(name).name)
        if state.shadow is None or state.in_use != chosen:
            return None
        manifest = store.read_manifest(home, state.shadow.package_id)
        return (
            None
            if manifest is None
            else cls(home, used, replace(manifest, kept=state.shadow.model))
        )

    def see(self, part: SiteData, inputs: Inputs, rows: Sequence[Prediction]) -> None:
        """Predict records once more, and remember what differs.

        Args:
            inputs: What the model in use saw of them.

        Raises:
            VerificationError: The shadow's file is another one, or it stands on another encoder.
        """
        home, manifest = self._home, self._manifest
        if not self._shares_inputs:
            inputs = predict.encode_records(home, manifest, part)
        shadow_rows = predict.predict(home, manifest, manifest.kept, inputs, part.names)
        self._compared += len(rows)
        now = int(time.time())
        self._found += [
            Difference(
                name=row.name,
                in_use=row.label,
                probability=row.probability,
                shadow=shadow_row.label,
                shadow_probability=shadow_row.probability,
                when=now,
            )
            for row, shadow_row in zip(rows, shadow_rows, strict=True)
            if row.label != shadow_row.label
        ]

    def save(self) -> tuple[int, tuple[Difference, ...]]:
        """Add to what is known of the pair; returns what this run compared, and what differed.

        Raises:
            StorageError: The disk is full or cannot be written; what was known still is.
        """
        home = self._home
        with locks.models(home):
            comparison = read(home)
            if comparison is not None:
                comparison = replace(
                    comparison,
                    compared=comparison.compared + self._compared,
                    differ=comparison.differ + len(self._found),
                    differences=(*comparison.differences, *self._found)[-DIFFERENCES_LIMIT:],
                )
                data = canonical.encode(comparison)
                atomic.write_bytes(home.models / FILE, data, mode=atomic.PRIVATE)
        return self._compared, tuple(self._found)
