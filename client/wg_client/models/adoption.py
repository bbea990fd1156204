"""Adoption: the model in use, its shadow, and the history of decisions about them, in one file.

A plant has three stages. *pilot*: it has no model yet. *in use*: one model predicts. *shadow*:
another model predicts beside the one in use; differences are listed, but its predictions have no
effect.

``models/adoption.json`` holds every change, oldest first; the last one is the current state. The
whole file is replaced atomically, under a lock. The arrival of a package is recorded once: applying
it again changes nothing. Private to the plant.
"""

import logging
import time
from dataclasses import dataclass, replace
from typing import Literal

from wg_client.methods.method_names import LOCAL_ONLY
from wg_client.models import store
from wg_client.models.manifest import KEPT_ALIAS, ModelsManifest
from wg_common.language import Text, template, text
from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError, UsageError
from wg_core.site import locks
from wg_core.site.home import ClientHome
from wg_core.site.weights_failures import FEW_SITES_CODE
from wg_core.text_grammars import check_name
from wg_core.wire import canonical

log = logging.getLogger(__name__)

VERSION = 2
FILE_NAME = "adoption.json"
PROGRAM_AUTHOR = "weightgate"  # Author of automatic decisions
_FILE_BYTES_LIMIT = 16 << 20
INITIAL_DEFECT_THRESHOLD = 0.5  # Initial threshold of a model
INITIAL_MISSED_DEFECT_SHARE = 0.1  # Initial largest share of defective records that may pass

ModelInPackage = tuple[ModelsManifest, str]
"""Manifest of a package's models, and the name of one of them."""
ChangeKind = Literal["arrived", "use", "shadow", "threshold", "missed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """Reference to one model of one applied package."""

    package_id: str
    model: str

    def __str__(self) -> str:
        return f"{self.model} of package {self.package_id[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionChange:
    """One change of the model in use, with the state after the change.

    Attributes:
        when: Unix time, seconds.
        what: Kind of the change.
        by: Author of the decision.
        subject: Model that the change is about; None: no model.
        why: Reason, one sentence.
        in_use: The model in use afterwards.
        shadow: The shadow model afterwards.
        threshold: Probability of a defect from which the model in use rejects a record.
        missed_share: Largest share of defective records that may pass, whatever the model.
    """

    when: int
    what: ChangeKind
    by: str
    subject: ModelReference | None
    why: str
    in_use: ModelReference | None = None
    shadow: ModelReference | None = None
    threshold: float = INITIAL_DEFECT_THRESHOLD
    missed_share: float = INITIAL_MISSED_DEFECT_SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptionHistory:
    """History of the changes of the model in use."""

    version: int = VERSION
    changes: tuple[AdoptionChange, ...] = ()

    @property
    def latest_change(self) -> AdoptionChange:
        """Last change, which holds the current state."""
        no_change = AdoptionChange(when=0, what="arrived", by=PROGRAM_AUTHOR, subject=None, why="")
        return self.changes[-1] if self.changes else no_change

    @property
    def stage(self) -> str:
        """Current stage: ``pilot``, ``in use`` or ``shadow``."""
        if self.latest_change.in_use is None:
            return "pilot"
        return "in use" if self.latest_change.shadow is None else "shadow"

    def defect_threshold_of(self, model: ModelReference | None) -> float:
        """Return the threshold that a model had when it was last in use, 0.5 if it never was."""
        thresholds = [change.threshold for change in self.changes if change.in_use == model]
        return thresholds[-1] if thresholds else INITIAL_DEFECT_THRESHOLD


def read_adoption_history(home: ClientHome) -> AdoptionHistory:
    """Read the history of the model in use from its file; empty if no package was applied yet.

    Raises:
        DecodeError: The file is damaged, or of another version.
    """
    path = home.models / FILE_NAME
    if path.is_file():
        data = atomic.read_bytes(path, limit=_FILE_BYTES_LIMIT)
        if canonical.stated_version(data, input_name=str(path)) < VERSION:
            earlier = canonical.decode_known_fields(AdoptionHistory, data, input_name=str(path))
            return replace(earlier, version=VERSION)
        return canonical.decode(
            AdoptionHistory, data, input_name=str(path), max_bytes=_FILE_BYTES_LIMIT
        )
    return AdoptionHistory()


def model_in_use(home: ClientHome) -> ModelInPackage:
    """Return the package and name of the model in use.

    Raises:
        ConfigError: No model is in use.
    """
    state = read_adoption_history(home).latest_change
    if state.in_use is None:
        message = _NO_MODEL_MESSAGE if state.shadow is None else _SHADOW_WAITS_MESSAGE
        if store.sensor_package_paths(home):
            message = _ONLY_SENSOR_MESSAGE
        raise ConfigError(message.format(models=home.models))
    return _find_manifest(home, state.in_use), state.in_use.model


def shadow_model(home: ClientHome) -> ModelInPackage | None:
    """Return the package and name of the shadow model; None if there is none."""
    choice = read_adoption_history(home).latest_change.shadow
    return None if choice is None else (_find_manifest(home, choice), choice.model)


def find_model(home: ClientHome, package: str | None, model: str | None) -> ModelInPackage:
    """Return a package and the name of one of its models.

    Args:
        package: Id of a package, or its beginning; None: the package of the model in use.
        model: Name of a model, or ``manifest.KEPT_ALIAS``; None: the kept model of a given package,
            otherwise the model in use.

    Raises:
        ConfigError: There is no such package or model, or the beginning is ambiguous.
    """
    if package is None:
        manifest, name = model_in_use(home)
        return manifest, manifest.find_entry(model or name).name
    matches = [m for m in store.all_manifests(home) if m.package_id.startswith(package)]
    if len(matches) != 1:
        raise ConfigError(f"package {package!r}: {len(matches)} packages begin with it")
    return matches[0], matches[0].find_entry(model or KEPT_ALIAS).name


def decide_adoption(home: ClientHome, new_manifest: ModelsManifest) -> str:
    """Decide whether the kept model of a new package comes into use, and return the reason.

    The first model is used. A later model that is no better changes nothing. A better model, or one
    that was fitted on other records, becomes the shadow until a person puts it in use; so does a
    model with classes that few sites support, even if it is the first. If the model in use needs an
    encoder that the home no longer has, it cannot work, and the new model is used.

    Raises:
        StorageError: The disk is full or cannot be written; the model in use stays in use.
    """
    with locks.lock_models(home):
        history = read_adoption_history(home)
        state = history.latest_change
        choice = ModelReference(package_id=new_manifest.package_id, model=new_manifest.kept)
        for change in history.changes:
            if change.subject is not None and change.subject.package_id == new_manifest.package_id:
                return change.why
        old = None if state.in_use is None else _find_manifest(home, state.in_use)
        uses, why = True, _FIRST_MODEL_REASON
        if old is not None:
            uses, why = _replacement_and_reason(new_manifest, old)
        present, shadow = state.in_use, state.shadow
        event: ChangeKind = "arrived"
        if uses and predicts_few_site_class(new_manifest, new_manifest.kept):
            # The plant's own model predicts no class that only other sites know.
            has_local = any(entry.name == LOCAL_ONLY for entry in new_manifest.models)
            present = replace(choice, model=LOCAL_ONLY) if has_local else None
            shadow, event, why = choice, "shadow", _FEW_SITES_REASON
        elif uses:
            present, event = choice, "use"
        elif why in (_BETTER_REASON, _OTHER_RECORDS_REASON):
            shadow, event = choice, "shadow"
        _append_change(
            home,
            history,
            AdoptionChange(
                when=int(time.time()),
                what=event,
                by=PROGRAM_AUTHOR,
                subject=choice,
                why=why,
                in_use=present,
                shadow=shadow,
                missed_share=state.missed_share,
            ),
        )
    if uses and old is not None:
        log.warning("package %s: %s: %s", new_manifest.package_id[:16], event, why)
    return why


def adoption_reason_sentences(reason: str) -> tuple[Text, ...]:
    """Return the reason from ``decide_adoption`` as a sentence; none if the model is the first."""
    return () if reason == _FIRST_MODEL_REASON else (text(reason),)


_NO_MODEL_MESSAGE = "{models}: no models yet; 'wg-client run' or 'apply' makes them"
_ONLY_SENSOR_MESSAGE = (
    "{models}: no models that tell classes; the home keeps a soft sensor, which 'wg-client"
    " soft-sensor' uses"
)
_FIRST_MODEL_REASON = template("the first model")
_FEW_SITES_REASON = template(
    "fewer than three sites agree on classes without a record here: the model waits"
    " until a person accepts it ('models use --few-sites')"
)
_SHADOW_WAITS_MESSAGE = (
    "{models}: no model is in use: the one in shadow waits for a person's word; see its report,"
    " then 'wg-client models use --shadow --few-sites --by NAME'"
)
_CHOSEN_BY_HAND_REASON = template("chosen by hand")
_NO_BETTER_REASON = template("no better than the model in use, which stays")
_BETTER_REASON = template(
    "better on your records than the model in use: it runs in shadow until you put it into use"
)
_OTHER_RECORDS_REASON = template(
    "fitted on other records than the model in use, so that the two cannot be compared: it runs in"
    " shadow until you put it into use"
)
_OTHER_ENCODER_REASON = template(
    "the model that was in use cannot work with the encoder that this home has now"
)


def _replacement_and_reason(
    new_manifest: ModelsManifest, old_manifest: ModelsManifest
) -> tuple[bool, str]:
    """Return whether a later package's model is used at once, and the reason."""
    if new_manifest.encoder != old_manifest.encoder:
        return True, _OTHER_ENCODER_REASON
    if (new_manifest.commitment, new_manifest.labels) != (
        old_manifest.commitment,
        old_manifest.labels,
    ):
        return False, _OTHER_RECORDS_REASON
    return False, _BETTER_REASON if _is_better_model(
        new_manifest, old_manifest
    ) else _NO_BETTER_REASON


def _is_better_model(new_manifest: ModelsManifest, old_manifest: ModelsManifest) -> bool:
    """Return whether a later package's kept model is better than an earlier one's."""
    if old_manifest.architecture == new_manifest.architecture:
        return new_manifest.gain > old_manifest.gain
    # Gains compare only within one architecture; accuracies compare across architectures.
    before, after = (
        old_manifest.find_entry(KEPT_ALIAS).accuracy,
        new_manifest.find_entry(KEPT_ALIAS).accuracy,
    )
    return before is None or after is None or after > before


def predicts_few_site_class(manifest: ModelsManifest, model: str) -> bool:
    """Return whether a model predicts a class that only few sites, and no record here, support.

    Always False if the plant's policy has switched the check off.
    """
    return any(
        finding.model == model and finding.code == FEW_SITES_CODE and not finding.passed
        for finding in manifest.findings
    )


def put_model_in_use(
    home: ClientHome,
    manifest: ModelsManifest,
    model: str,
    author: str,
    *,
    accept_few_sites: bool = False,
) -> AdoptionChange:
    """Put a model in use, by a person's decision.

    Args:
        accept_few_sites: The person accepts classes that few sites support.

    Raises:
        UsageError: ``author`` is not a valid name.
        ConfigError: The model is in use already, the package has no such model, or few sites
            support one of its classes and ``accept_few_sites`` is not set.
    """
    choice = ModelReference(package_id=manifest.package_id, model=manifest.find_entry(model).name)
    if predicts_few_site_class(manifest, choice.model) and not accept_few_sites:
        raise ConfigError(
            f"{choice}: fewer than three sites stand behind classes that it names; its report says"
            " how many. Add --few-sites to use it all the same"
        )
    with locks.lock_models(home):
        history = read_adoption_history(home)
        state = history.latest_change
        if choice == state.in_use:
            raise ConfigError(f"{choice}: is in use already")
        shadow = None if choice == state.shadow else state.shadow
        change = replace(state, in_use=choice, shadow=shadow)
        return _record_decision(
            home, history, replace(change, what="use", by=author, subject=choice)
        )


def set_shadow_model(
    home: ClientHome, manifest: ModelsManifest, model: str, author: str
) -> AdoptionChange:
    """Let a model predict alongside the one in use, by a person's decision.

    Raises:
        UsageError: ``author`` is not a valid name.
        ConfigError: The model is in use, or the package has no such model.
    """
    choice = ModelReference(package_id=manifest.package_id, model=manifest.find_entry(model).name)
    with locks.lock_models(home):
        history = read_adoption_history(home)
        state = history.latest_change
        if choice == state.in_use:
            raise ConfigError(f"{choice}: is in use, and cannot be its own shadow")
        change = replace(state, shadow=choice)
        return _record_decision(
            home, history, replace(change, what="shadow", by=author, subject=choice)
        )


def set_threshold(
    home: ClientHome,
    threshold: float | None = None,
    *,
    missed_share: float | None = None,
    author: str,
) -> AdoptionChange:
    """Change the threshold of the model in use, or the share of defects that may pass.

    Args:
        threshold: Probability of a defect from which a record is rejected; None: unchanged.
        missed_share: Largest share of defective records that may pass; None: unchanged.

    Raises:
        UsageError: ``author`` is not a valid name.
        ConfigError: No model is in use.
    """
    with locks.lock_models(home):
        history = read_adoption_history(home)
        state = history.latest_change
        if state.in_use is None:
            raise ConfigError(_NO_MODEL_MESSAGE.format(models=home.models))
        change = replace(
            state,
            threshold=state.threshold if threshold is None else threshold,
            missed_share=state.missed_share if missed_share is None else missed_share,
        )
        kind: ChangeKind = "missed" if threshold is None else "threshold"
        return _record_decision(
            home, history, replace(change, what=kind, by=author, subject=state.in_use)
        )


def _record_decision(
    home: ClientHome, history: AdoptionHistory, change: AdoptionChange
) -> AdoptionChange:
    """Append a person's decision to the history of the model in use."""
    try:
        check_name(change.by)
    except DecodeError as error:
        raise UsageError(f"--by: {error}") from error
    return _append_change(
        home, history, replace(change, when=int(time.time()), why=_CHOSEN_BY_HAND_REASON)
    )


def _append_change(
    home: ClientHome, history: AdoptionHistory, change: AdoptionChange
) -> AdoptionChange:
    if change.what not in ("threshold", "missed"):
        change = replace(change, threshold=history.defect_threshold_of(change.in_use))
    data = canonical.encode(replace(history, changes=(*history.changes, change)))
    atomic.write_bytes(home.models / FILE_NAME, data, mode=atomic.PRIVATE_FILE_MODE)
    return change


def _find_manifest(home: ClientHome, reference: ModelReference) -> ModelsManifest:
    manifest = store.read_manifest(home, reference.package_id)
    if manifest is None:
        raise ConfigError(f"{home.models / FILE_NAME}: names {reference}, which is not here")
    return manifest
