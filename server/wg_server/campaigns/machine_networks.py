"""Networks for a plant's declared machine, from its data sheet and its machine statistics.

Networks are made from the data sheet alone if the plant released no machine statistics, or
statistics of fewer than ``privacy.schema.MACHINE_RECORDS_MINIMUM`` records.
"""

import logging
from dataclasses import replace

from wg_common.catalogue import PROCESS_SENSOR_NETWORK, SPECTRUM_LINES_NETWORK
from wg_common.weights_package import GeneratorCondition
from wg_core import atomic
from wg_core.errors import ConfigError, VerificationError
from wg_core.wire import canonical
from wg_server.campaigns.release import PackageRecipient
from wg_server.generator.versions import GeneratorVersion
from wg_server.generator.weights.candidates import GeneratedCandidate

log = logging.getLogger(__name__)


def make_machine_networks(
    version: GeneratorVersion, plant: PackageRecipient, *, seed: int
) -> tuple[GeneratorCondition, str, tuple[GeneratedCandidate, ...]] | None:
    """Return networks for the machine that a plant declares, the most typical network first.

    Returns:
        The condition that they were made for, their architecture, and the networks. None if the
        plant declares no machine, the version has no generator of networks, or this generator does
        not support the machine or the class names.

    Raises:
        DecodeError: The generator's package cannot be read.
        VerificationError: The package is not the one that the model card names.
    """
    if plant.data_sheet is None or version.summary.sheets is None or not version.uses_networks:
        return None
    # torch is slow to import
    from wg_common.machines.registry import declared_process_unit
    from wg_server.generator.weights import data_sheet_generation, machine_statistic

    data = atomic.read_bytes(version.sheets_path, limit=data_sheet_generation.PACKAGE_LIMIT)
    generator = canonical.sha256_hex(data)
    if generator != version.summary.sheets.generator:
        raise VerificationError(f"{version.sheets_path}: not the package that its model card names")
    statistic = (
        None
        if plant.machine_statistics is None
        else machine_statistic.statistic_from_release(plant.machine_statistics)
    )
    if statistic is not None and not statistic.has_enough_records:
        log.info("package for %s: too few records for its statistic", plant.site)
    sheets = data_sheet_generation.unpack_sheet_generator(data)
    architecture = SPECTRUM_LINES_NETWORK
    try:
        if declared_process_unit(plant.data_sheet) is not None:
            architecture = PROCESS_SENSOR_NETWORK
            candidates: tuple[GeneratedCandidate, ...] = (
                sheets.generate_soft_sensor(plant.data_sheet, statistic),
            )
        else:
            candidates = sheets.generate_networks(
                plant.data_sheet, plant.labels, statistic, seed=seed
            )
        is_used = (
            statistic is not None
            and statistic.has_enough_records
            and sheets.uses_statistic(plant.data_sheet)
        )
    except ConfigError as error:
        log.info("package for %s: not by its data sheet: %s", plant.site, error)
        return None
    condition = GeneratorCondition(generator=generator, data_sheet=plant.data_sheet.kind)
    if is_used and plant.release is not None:
        condition = replace(
            condition, statistic=plant.release_id, epsilon=plant.release.manifest.epsilon
        )
    return condition, architecture, candidates
