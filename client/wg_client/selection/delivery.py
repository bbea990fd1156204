"""Delivery of a package at the plant: application, adoption, report."""

import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from wg_client.data import acceptance_set
from wg_client.data import plant_data as plants
from wg_client.data.recipient_plant import StepProgressCallback
from wg_client.models import adoption, store
from wg_client.selection.apply import AppliedModel, apply_package
from wg_client.selection.report import write_report
from wg_common import weights_package
from wg_core import atomic
from wg_core.connection import cosigning
from wg_core.site.home import ClientHome
from wg_core.site.policy import check_message_type
from wg_core.wire import protocol


def apply_and_adopt_package(
    home: ClientHome,
    source: bytes | Path,
    *,
    package_public_key: str = "",
    clock: Callable[[], float] = time.time,
    progress: StepProgressCallback | None = None,
) -> AppliedModel:
    """Apply a package, store its cosignature if there is one, adopt a model, write the report.

    Args:
        source: Content of the package, or its file.
        package_public_key: Public key of the server, hex, by which the package is verified; empty:
            the key pinned in ``client.yaml``.

    Raises:
        PolicyRefused: The plant does not accept packages.
        WgError: As for ``apply_package``, ``store_package_cosignature`` and
            ``adoption.decide_adoption``.
    """
    data = (
        atomic.read_bytes(source, limit=protocol.WEIGHTS_BYTES_LIMIT)
        if isinstance(source, Path)
        else source
    )
    plant = plants.open_plant_data(home, package_public_key)
    check_message_type(plant.config, protocol.DELIVERY_MESSAGE_TYPE)

    def note_verified(package: bytes) -> None:
        acceptance_set.mark_as_trained_on(home, plant.snapshot.records())
        store_package_cosignature(home, package)

    outcome = apply_package(
        home, plant, data, clock=clock, progress=progress, on_verified=note_verified
    )
    # An earlier call may have crashed between storing the models and adopting one.
    why = ""
    if not outcome.was_applied_before or store.all_manifests(home)[-1] == outcome.manifest:
        why = adoption.decide_adoption(home, outcome.manifest)
    if outcome.outcome is None:
        return outcome
    advice = write_report(home, plant, outcome.manifest, outcome.outcome)
    return replace(
        outcome,
        advice_sentences=(advice, outcome.outcome.reason, *adoption.adoption_reason_sentences(why)),
    )


def store_package_cosignature(home: ClientHome, package_bytes: bytes) -> int | None:
    """Store the cosignature that a package may carry; return its checkpoint's size, or None."""
    signed = weights_package.read_checkpoint(io.BytesIO(package_bytes))
    return cosigning.store_cosignature(home, signed) if signed else None
