"""The manifest of a package's models: where they come from, what was found, and what was kept.

Version 3; 4 where models stand on a local encoder, too, 5 where they stand on a network of the
plant's family, 6 where on both. Version 2 did not say what failing a check means (every check
blocked), nor when a call is sure or a record new. Version 1 had the figures of one check, under
``evidence``. All are read.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Literal

from wg_client.methods.names import LOCAL
from wg_client.site.local_encoder import LocalEncoderPin
from wg_common.errors import ConfigError, DecodeError
from wg_common.wire import canonical

VERSION = 3
KEPT = "kept"  # In place of a model's name: the model that was kept


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """One model.

    Attributes:
        name: Of its method; see ``wg_client.methods.names``.
        sha256: Of its safetensors file, hex.
        origin: Name of the delivered candidate that it is or started from, or empty.
        source: How that candidate came about, or empty.
        settings: What cross-validation chose.
        accuracy: Out-of-fold accuracy, or null without labels.
        error: Its standard error, or null.
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
    """The networks of the plant's family that stand beside the encoder.

    Attributes:
        architecture: Their names in the catalogue, in order, with plus signs between them.
        sha256: Of the safetensors file of their trunks, hex.
    """

    architecture: str
    sha256: str

    @property
    def architectures(self) -> list[str]:
        """Their names."""
        return self.architecture.split("+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an acceptance check (``wg_client.selection.checks``) says of a model.

    Attributes:
        model: Name of the model.
        code: Of the failure that the check looks for, ``WG-Fnn``.
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
        """Whether it keeps the model from being kept."""
        return not self.passed and self.action == "block"

    @property
    def verdict(self) -> str:
        """``passed``, ``warning`` or ``failed``, for people."""
        return "passed" if self.passed else "failed" if self.blocks else "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Provenance:
    """What all versions have.

    Attributes:
        package_id: The package's id, hex.
        package_sha256: Hash of its bytes, hex.
        request_id: The request that it answered.
        architecture: Name in ``wg_common.nets``.
        plan: Which parts were generated.
        encoder: Encoder id, hex.
        generator: Generator id, hex.
        labels: Label domain, in the order of class rows.
        own_release: Release of this site that conditioned the package, or empty.
        memory_releases: Releases of other sites that did.
        commitment: Keyed commitment to the records that chose and trained, hex.
        applied: Unix time, seconds.
        kept: Name of the model kept.
        reason: Why.
        gain: Estimated gain of the kept model over local-only; 0 for local-only itself.
        models: The models.
        nearest_zoo_distances: Of each delivered candidate, as the package says.
    """

    package_id: str
    package_sha256: str
    request_id: str
    architecture: str
    plan: str
    encoder: str
    generator: str
    labels: tuple[str, ...]
    own_release: str
    memory_releases: tuple[str, ...]
    commitment: str
    applied: int
    kept: str
    reason: str
    gain: float
    models: tuple[ModelEntry, ...]
    nearest_zoo_distances: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsManifest(_Provenance):
    """Provenance of the models of one package.

    Attributes:
        findings: What the acceptance checks say of each model but the references.
        sure: Least probability of a sure call, of each model that was judged out of fold; above 1
            if no call can be.
        novelty: SHA-256 of the file that tells new records from known ones, hex; empty: none.
    """

    version: int = VERSION
    findings: tuple[Finding, ...]
    sure: dict[str, float] = field(default_factory=dict)
    novelty: str = ""

    def __post_init__(self) -> None:
        expected = VERSION + (self.local_encoder is not None) + 2 * (self.network is not None)
        if self.version != expected:
            raise DecodeError(f"models manifest: version {self.version}, expected {expected}")

    @property
    def local_encoder(self) -> LocalEncoderPin | None:
        """The local encoder whose features the models stand on, beside the shared encoder's."""
        return getattr(self, "beside", None)

    @property
    def network(self) -> NetworkFile | None:
        """The network of the plant's family that heads may stand on, beside the encoder."""
        return getattr(self, "family_network", None)

    @property
    def accepted(self) -> bool:
        """Whether delivered weights were kept, in any form."""
        return self.kept != LOCAL

    def entry(self, name: str) -> ModelEntry:
        """A model by name, or the kept one; ``ConfigError`` if there is none."""
        wanted = self.kept if name == KEPT else name
        for model in self.models:
            if model.name == wanted:
                return model
        known = ", ".join([KEPT, *(model.name for model in self.models)])
        raise ConfigError(f"model {name!r}: package {self.package_id[:16]} has {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithLocal(ModelsManifest):
    version: int = 4
    beside: LocalEncoderPin


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithNetwork(ModelsManifest):
    version: int = 5
    family_network: NetworkFile


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithBoth(ModelsManifest):
    version: int = 6
    beside: LocalEncoderPin
    family_network: NetworkFile


def kind_for(
    local: LocalEncoderPin | None, network: NetworkFile | None
) -> Callable[..., ModelsManifest]:
    """Makes a manifest of models that stand on these two, or on one of them, or on neither.

    It takes the attributes of ``ModelsManifest`` but the version.
    """
    if local is None:
        return ModelsManifest if network is None else partial(_WithNetwork, family_network=network)
    if network is None:
        return partial(_WithLocal, beside=local)
    return partial(_WithBoth, beside=local, family_network=network)


def decode(data: bytes, *, what: str, limit: int) -> ModelsManifest:
    """Read a manifest of any version.

    Args:
        data: Its bytes.
        limit: Largest accepted size in bytes.

    Raises:
        DecodeError: It is none, or of a version that is not known here.
    """
    version = canonical.version_of(data, what=what)
    if version == 1:
        return _upgraded(canonical.decode(_Version1, data, what=what, limit=limit))
    if version == 2:
        old = canonical.decode(_Version2, data, what=what, limit=limit)
        findings = tuple(
            Finding(
                model=item.model,
                code=item.code,
                passed=item.passed,
                figures=item.figures,
                message=item.message,
            )
            for item in old.findings
        )
        return ModelsManifest(**_shared(old), findings=findings)
    kinds: dict[int, type[ModelsManifest]] = {4: _WithLocal, 5: _WithNetwork, 6: _WithBoth}
    return canonical.decode(kinds.get(version, ModelsManifest), data, what=what, limit=limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evidence:
    """A model against local-only in version 1; ``nats`` is the gain in log loss."""

    name: str
    gain: float
    sd: float
    lower: float
    accepted: bool
    nats: float
    unseen_recall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version1(_Provenance):
    version: int
    evidence: tuple[_Evidence, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finding2:
    model: str
    code: str
    passed: bool
    figures: dict[str, float]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Version2(_Provenance):
    version: int
    findings: tuple[_Finding2, ...]


def _upgraded(old: _Version1) -> ModelsManifest:
    findings = tuple(
        Finding(
            model=item.name,
            code="WG-F01",
            passed=item.accepted,
            figures={
                "gain": item.gain,
                "sd": item.sd,
                "lower": item.lower,
                "log_loss_gain": item.nats,
                "unseen_recall": item.unseen_recall,
            },
            message="",
        )
        for item in old.evidence
    )
    return ModelsManifest(**_shared(old), findings=findings)


def _shared(old: _Provenance) -> dict[str, Any]:
    return {field.name: getattr(old, field.name) for field in fields(_Provenance)}
