"""Manifest of a package's models: provenance, findings, and the kept model."""

from dataclasses import dataclass, field
from typing import Literal

from wg_client.methods.method_names import LOCAL_ONLY
from wg_common.weights_package import GeneratorCondition
from wg_core.errors import ConfigError

VERSION = 7
KEPT_ALIAS = "kept"  # Alias of the kept model's name


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """Entry of one model in the manifest.

    Attributes:
        name: Name of its method; see ``wg_client.methods.method_names``.
        sha256: SHA-256 of its safetensors file, hex.
        origin: Name of the delivered candidate that it equals or started from; empty: none.
        source: Source of that candidate, or empty.
        settings: Settings that cross-validation selected.
        accuracy: Out-of-fold accuracy, or null without labels.
        error: Standard error of the accuracy, or null.
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
    """File of a network that runs alongside the encoder.

    Attributes:
        architecture: Name in the catalogue.
        sha256: SHA-256 of the safetensors file of its trunk, hex.
    """

    architecture: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckFinding:
    """Finding of an acceptance check (``wg_client.selection.checks``) about a model.

    Attributes:
        model: Name of the model.
        code: Code of the failure that the check looks for, ``WG-Fnn``.
        passed: True if the model passed the check.
        figures: Measured values by name.
        message: One sentence for the plant engineer.
        action: Consequence of a failure: ``block`` or ``warn``.
    """

    model: str
    code: str
    passed: bool
    figures: dict[str, float]
    message: str
    action: Literal["block", "warn"] = "block"

    @property
    def blocks_model(self) -> bool:
        """True if the finding prevents the model from being kept."""
        return not self.passed and self.action == "block"

    @property
    def verdict(self) -> str:
        """Result of the check for people: ``passed``, ``warning`` or ``failed``."""
        return "passed" if self.passed else "failed" if self.blocks_model else "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsManifest:
    """Provenance of the models of one package.

    Attributes:
        package_id: The package's id, hex.
        package_sha256: SHA-256 of the package's bytes, hex.
        request_id: Id of the request that the package answers.
        architecture: Name in ``wg_common.catalogue`` of heads on the encoder.
        encoder: Encoder id, hex.
        generator: Id of the generator of heads, hex.
        labels: Label domain, in the order of class rows.
        own_release: Id of the site's own release that the package was made from; empty: none.
        pool_root: Root of the Merkle tree over the releases in the package's pools, hex.
        pool_releases: Number of other sites' releases in that tree.
        commitment: Keyed commitment to the records used for selection and training, hex.
        applied: Time at which the package was applied, Unix time, seconds.
        kept: Name of the kept model.
        reason: Reason for keeping that model.
        gain: Estimated gain of the kept model over local-only; 0 for local-only itself.
        models: The models.
        candidates: Names of the delivered candidates.
        findings: Findings of the acceptance checks about each model except local-only.
        sure: Lowest probability of a sure call, by model with an out-of-fold evaluation; above 1 if
            no call can be sure.
        judged_labels: Number of labelled records on which calls were evaluated out of fold; 0:
            unknown.
        unseen: Labels without a record at the plant: no call of such a label is sure.
        judged_file: SHA-256 of the file of out-of-fold logits, hex; empty: no file.
        novelty: SHA-256 of the file of the novelty test, hex; empty: no file.
        network: Network alongside the encoder that heads may use; null: no network.
        condition: Data sheet and statistic that generated networks were made for.
        plant_trunk: SHA-256 of the file of the trunk fitted at the plant, hex; empty: no file.
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
    findings: tuple[CheckFinding, ...]
    sure: dict[str, float] = field(default_factory=dict)
    judged_labels: int = 0
    unseen: tuple[str, ...] = ()
    judged_file: str = ""
    novelty: str = ""
    network: NetworkFile | None = None
    condition: GeneratorCondition = field(default_factory=GeneratorCondition)
    plant_trunk: str = ""

    def __repr__(self) -> str:
        return f"ModelsManifest({self.package_id[:16]!r}, kept={self.kept!r})"

    @property
    def keeps_delivered_model(self) -> bool:
        """True if delivered weights were kept, unchanged or fine-tuned."""
        return self.kept != LOCAL_ONLY

    @property
    def has_single_class(self) -> bool:
        """True if all labelled records at the plant have one class."""
        return len(self.labels) - len(self.unseen) == 1

    def find_entry(self, name: str) -> ModelEntry:
        """Return the entry of a model by name or ``KEPT_ALIAS``; ``ConfigError`` if unknown."""
        model_name = self.kept if name == KEPT_ALIAS else name
        for model in self.models:
            if model.name == model_name:
                return model
        names = ", ".join([KEPT_ALIAS, *(model.name for model in self.models)])
        raise ConfigError(f"model {name!r}: package {self.package_id[:16]} has {names}")
