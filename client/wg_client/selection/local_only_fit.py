"""Local-only model without a package: trained on the plant's labels, evaluated in its folds."""

import time
from collections.abc import Callable

from wg_client.data import acceptance_set
from wg_client.data import plant_data as plants
from wg_client.data.recipient_plant import StepProgressCallback
from wg_client.methods.base import PreparedPackage
from wg_client.methods.package import build_plant_records
from wg_client.models import adoption, store
from wg_client.models.manifest import VERSION
from wg_client.selection.apply import AppliedModel, build_manifest_and_files
from wg_client.selection.model_selection import select_model
from wg_client.selection.report import write_report
from wg_core.errors import DataError
from wg_core.site.home import ClientHome
from wg_core.wire import canonical


def fit_and_adopt_local_only(
    home: ClientHome,
    *,
    progress: StepProgressCallback | None = None,
    clock: Callable[[], float] = time.time,
) -> AppliedModel:
    """Fit local-only on the current snapshot, decide on its adoption, and write the report.

    Raises:
        ConfigError: There is no snapshot.
        DataError: No record has a label.
    """
    plant = plants.open_plant_data(home)
    if not (plant.data.labels >= 0).any():
        raise DataError(
            f"{plant.config.data.path}: no record has a label, so that there is no model to make;"
            " 'wg-client watch' needs none"
        )
    number = canonical.sha256_hex(
        f"alone {VERSION} {plant.commitment} {plant.encoder_sha256}".encode()
    )
    manifest = store.read_manifest(home, number)
    if manifest is not None:
        return AppliedModel(manifest=manifest)
    acceptance_set.mark_as_trained_on(home, plant.snapshot.records())
    outcome = select_model(
        build_plant_records(plant),
        PreparedPackage(candidates=[]),
        plant.acceptance_policy,
        plant.data.label_names,
        progress,
    )
    manifest, files = build_manifest_and_files(
        plant, outcome, package_id=number, applied_time=int(clock())
    )
    store.write_models(home, manifest, files)
    note = adoption.adoption_reason_sentences(adoption.decide_adoption(home, manifest))
    advice = write_report(home, plant, manifest, outcome)
    return AppliedModel(
        manifest=manifest, outcome=outcome, advice_sentences=(advice, outcome.reason, *note)
    )
