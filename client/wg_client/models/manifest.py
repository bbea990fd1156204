"""The manifest of a package's models: where they come from, what was found, and what was kept."""

from dataclasses import dataclass, field
from typing import Literal

from wg_client.methods.names import LOCAL
from wg_common.weights_package import Condition
from wg_core.errors import ConfigError

VERSION = 5
KEPT = "kept"  # In place of a model's name: the model that was kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model.

    Attributes:
        name: Name of its method; see ``wg_client.methods.names``.
        sha256: SHA-256 of its safetensors file, hex.
        origin: Name of the delivered candidate that it is or started from, or empty.
        source: How that candidate came about, or empty.
        settings: What cross-validation chose.
        accuracy: Out-of-fold accuracy, or null without labels.
        error: Standard error, or null.
    """

    name: str
    sha256: str
    origin: str
    source: str
    settings: dict[str, str]
    accuracy: float | None
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFile:
    """The network that stands beside the encoder.

    Attributes:
        architecture: Name in the catalogue.
        sha256: SHA-256 of the safetensors file of its trunk, hex.
    """

    architecture: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Finding of an acceptance check (``wg_client.selection.checks``) about a model.

    Attributes:
        model: Name of the model.
        code: Code of the failure that the check looks for, ``WG-Fnn``.
        passed: Whether the model may be kept, as far as this check goes.
        figures: What was measured, by name.
        message: One sentence for the plant engineer.
        action: What failing it means: ``block`` or ``warn``.
    """

    model: str
    code: str
    passed: bool
    figures: dict[str, float]
    message: str
    action: Literal["block", "warn"] = "block"

    @property
    def blocks(self) -> bool:
        """True if it keeps the model from being kept."""
        return not self.passed and self.action == "block"

    @property
    def verdict(self) -> str:
        """``passed``, ``warning`` or ``failed``, for people."""
        return "passed" if self.passed else "failed" if self.blocks else "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsManifest:
    """Provenance of the models of one package.

    Attributes:
        package_id: The package's id, hex.
        package_sha256: Hash of its bytes, hex.
        request_id: The request that it answered.
        architecture: Name in ``wg_common.catalogue`` of heads on the encoder.
        encoder: Encoder id, hex.
        generator: Id of the generator of heads, hex.
        labels: Label domain, in the order of class rows.
        own_release: Release of this site that conditioned the package, or empty.
        pool_root: Root of the tree of the releases of other sites that did; as in the package.
        pool_releases: How many these are.
        commitment: Keyed commitment to the records that chose and trained, hex.
        applied: Unix time, seconds.
        kept: Name of the model kept.
        reason: Why.
        gain: Estimated gain of the kept model over local-only; 0 for local-only itself.
        models: The models.
        candidates: Names of those that were delivered.
        findings: What the acceptance checks say of each model but the references.
        sure: Least probability of a sure call, of each model that was judged out of fold; above 1
            if no call can be.
        judged_labels: Labelled records that calls were judged on, out of fold; 0: not known.
        unseen: Labels that no record of the plant had: no call of one is sure.
        judged_file: SHA-256 of the file of out-of-fold logits, hex; empty: none.
        novelty: SHA-256 of the file that tells new records from known ones, hex; empty: none.
        network: The network that heads may stand on, beside the encoder; null: none.
        condition: Statement and statistic that generated networks were made for.
        plant_trunk: SHA-256 of the file of the trunk that is fitted here, hex; empty: none.
    """

    version: int = VERSION
    package_id: str
    package_sha256: str
    request_id: str
    architecture: str
    encoder: str
    generator: str
    labels: tuple[str, ...]
    own_release: str
    pool_root: str
    pool_releases: int
    commitment: str
    applied: int
    kept: str
    reason: str
    gain: float
    models: tuple[ModelEntry, ...]
    candidates: tuple[str, ...]
    findings: tuple[Finding, ...]
    sure: dict[str, float] = field(default_factory=dict)
    judged_labels: int = 0
    unseen: tuple[str, ...] = ()
    judged_file: str = ""
    novelty: str = ""
    network: NetworkFile | None = None
    condition: Condition = field(default_factory=Condition)
    plant_trunk: str = ""

    def __repr__(self) -> str:
        return f"ModelsManifest({self.package_id[:16]!r}, kept={self.kept!r})"

    @property
    def accepted(self) -> bool:
        """True if delivered weights were kept, in any form."""
        return self.kept != LOCAL

    def entry(self, name: str) -> ModelEntry:
        """A model by name, or the kept one; ``ConfigError`` if there is none."""
        model_name = self.kept if name == KEPT else name
        for model in self.models:
            if model.name == model_name:
                return model
        names = ", ".join([KEPT, *(model.name for model in self.models)])
        raise ConfigError(f"model {name!r}: package {self.package_id[:16]} has {names}")
