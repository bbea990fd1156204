"""Inspection and freeze of a home's data set."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from wg_client.data import acceptance_set, process_log
from wg_client.data.dataset import SurveyOptions, describe_empty_dataset
from wg_client.data.dataset_survey import survey_dataset
from wg_client.data.record_inspection import Inspection, inspect_records
from wg_core.errors import DataError
from wg_core.release import freeze as freezing
from wg_core.release import quality
from wg_core.release.encoding import LoadEncoder
from wg_core.release.freeze import FreezeResult, ProgressCallback
from wg_core.site import config as configuration
from wg_core.site import encoder_pin
from wg_core.site.home import ClientHome
from wg_core.snapshot import Snapshot


def inspect_home_data(
    home: ClientHome, *, load_encoder: LoadEncoder, on_progress: ProgressCallback | None = None
) -> Inspection:
    """Decode and hash every record of the home's data set, and list unusable records.

    Args:
        load_encoder: Function that loads an encoder from the bytes of its package.
        on_progress: Called with the stage, the number of records done, and their total.

    Raises:
        ConfigError: The home is not initialised, or ``client.yaml`` is wrong.
        DataError: The data set as a whole cannot be read, or is of another modality.
    """
    config = configuration.load(home)
    process_log.check_process_log(config.data_sheet, config.data.reading)
    encoder = load_encoder(encoder_pin.load(home, config))
    data_survey = survey_dataset(
        Path(config.data.path),
        SurveyOptions(
            labels=config.data.labels,
            unit_column=config.data.unit_column,
            modality=encoder.modality,
            reading=config.data.reading,
        ),
    )
    return inspect_records(
        data_survey, has_units=config.data.unit_column is not None, progress=on_progress
    )


def freeze_refusal(
    inspection: Inspection, *, set_aside: bool, allow_empty: bool, source: Path
) -> DataError | None:
    """Return the error that prevents a freeze, or None; ``source`` is the path of the data set."""
    if inspection.problems and not set_aside:
        problem = inspection.problems[0]
        return DataError(
            f"{source}: nothing was frozen: {len(inspection.problems)} records or files cannot be"
            f" used, first {problem.name}: {problem.reason}; mend them, or leave them out with"
            " --set-aside"
        )
    if not len(inspection.data) and not allow_empty:
        return DataError(
            f"{describe_empty_dataset(source, inspection.problems)}: nothing was frozen;"
            " --allow-empty allows that"
        )
    return None


def freeze_data(
    home: ClientHome,
    inspection: Inspection,
    *,
    load_encoder: LoadEncoder,
    set_aside: bool = False,
    allow_empty: bool = False,
    on_progress: ProgressCallback | None = None,
    clock: Callable[[], float] = time.time,
) -> FreezeResult:
    """Freeze an inspected data set, unless it has a record that cannot be used.

    Args:
        set_aside: Exclude records that cannot be used.
        allow_empty: Allow a snapshot without records.
        on_progress: Called with the stage, the number of records done, and their total.
        clock: Returns Unix time, seconds; called once, at the start.

    Raises:
        DataError: A record cannot be used; nothing was changed.
        WgError: As for ``wg_core.release.freeze.freeze``.
    """
    start_time = clock()
    config = configuration.load(home)
    source = Path(config.data.path)
    if refusal := freeze_refusal(
        inspection, set_aside=set_aside, allow_empty=allow_empty, source=source
    ):
        raise refusal
    encoder = load_encoder(encoder_pin.load(home, config))
    inspection, acceptance = acceptance_set.split_acceptance_set(home, config, inspection, encoder)
    data = b"" if acceptance is None else acceptance.encode()
    return freezing.freeze(
        home,
        inspection,
        load_encoder=load_encoder,
        acceptance_set=data,
        on_progress=on_progress,
        clock=lambda: start_time,
    )


def encoder_failure_names(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the names of frozen records on which the encoder failed. Private to the plant.

    Raises:
        WgError: The snapshot is damaged.
    """
    names, data = quality.read(snapshot.folder).failures, snapshot.read_acceptance_set()
    if not data:
        return names
    spare = acceptance_set.decode_acceptance_set(data, str(snapshot.folder))
    return *names, *(spare.listing.names[row] for row in np.flatnonzero(spare.encoder_failures))
