"""Package with a soft sensor: verification, storage, and preparation for its process unit."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from wg_client.data import plant_data as plants
from wg_client.data.recipient_plant import StepProgressCallback
from wg_client.models import store
from wg_client.selection.apply import AppliedModel, check_recipient
from wg_client.selection.delivery import apply_and_adopt_package, store_package_cosignature
from wg_common import catalogue, weights_file, weights_package
from wg_common.language import text
from wg_common.machines import registry
from wg_common.machines.process import LogScale
from wg_common.nets import process_sensor
from wg_common.nets.process_sensor import ProcessSensor
from wg_common.weights_package import WeightsManifest
from wg_core import atomic
from wg_core.errors import ConfigError, DecodeError, UsageError, VerificationError
from wg_core.fleet.inbox import Inbox
from wg_core.site.home import ClientHome
from wg_core.site.policy import check_message_type
from wg_core.wire import protocol, signing


@dataclass(frozen=True, slots=True, eq=False)
class SensorPackage:
    """A delivered soft sensor, prepared for its plant.

    Attributes:
        sensor: The network.
        manifest: Manifest of its package.
        channels: Columns of the plant's logs that are instruments, in the process unit's order.
    """

    sensor: ProcessSensor
    manifest: WeightsManifest
    channels: tuple[str, ...]

    def quantity_index(self, target: str, quantity: str | None) -> int:
        """Return the index of the quantity that a laboratory column holds.

        Args:
            target: Name of the column, with the unit in brackets if it is stated.
            quantity: Name of the quantity; None: the column has its name.

        Raises:
            UsageError: There is no quantity of this name, or the column has another unit.
        """
        quantities = self.sensor.unit.quantities
        name, *symbols = re.split(r"[\[(]", re.sub(r"[\s_]+", " ", target), maxsplit=1)
        symbol = "".join(symbols).strip(" ])")
        names = [stated_quantity.name for stated_quantity in quantities]
        words = {"target": repr(target), "name": (quantity or name).strip().casefold()}
        if words["name"] not in names:
            words["quantities"] = self.quantities_text
            raise UsageError(
                text(
                    "--target {target}: this soft sensor states {quantities}; say which:"
                    " --quantity",
                    **words,
                )
            )
        place = names.index(words["name"])
        if symbol not in ("", unit := quantities[place].measurement_unit):
            words["unit"] = unit
            raise UsageError(
                text(
                    "--target {target}: {name} is stated in {unit} here; convert the column",
                    **words,
                )
            )
        return place

    @property
    def quantities_text(self) -> str:
        """Quantities that the soft sensor estimates, with their units."""
        return ", ".join(
            f"{part.name} ({part.measurement_unit})" for part in self.sensor.unit.quantities
        )

    def quantity_scale(self, index: int) -> LogScale:
        """Return the scale of the quantity at an index."""
        nominal, factors = self.sensor.unit.quantity_scale(self.sensor.figures)
        return LogScale(nominal[0, 0, index].double(), factors[index].double())

    def compute_inputs(self, windows: Tensor, *, quantity_index: int) -> tuple[Tensor, Tensor]:
        """Compute features ``[n, F]`` and delivered scores ``[n]`` of one quantity.

        Args:
            windows: Windows of a sensor log, ``[n, C, T]``: n windows, C channels, T samples.
            quantity_index: Index of the quantity among those that the soft sensor estimates.
        """
        features, scores = self.sensor.readings_and_scores(windows)
        return features, scores[:, quantity_index]


def receive_package(
    home: ClientHome, path: Path, *, progress: StepProgressCallback | None = None
) -> AppliedModel | SensorPackage:
    """Take a package from the server: keep it if it holds a soft sensor, otherwise apply it.

    Raises:
        WgError: As for ``store_sensor_package`` and ``delivery.apply_and_adopt_package``.
    """
    data = atomic.read_bytes(path, limit=protocol.WEIGHTS_BYTES_LIMIT)
    if weights_package.states_architecture(data, catalogue.PROCESS_SENSOR_NETWORK):
        return store_sensor_package(home, path)
    key = Inbox(home).read_stored_server_key(path)
    return apply_and_adopt_package(home, data, package_public_key=key, progress=progress)


def store_sensor_package(home: ClientHome, path: Path) -> SensorPackage:
    """Verify a package, keep it and its cosignature in the home, and read its soft sensor.

    A package that the home already keeps is accepted again even after it has expired.

    Raises:
        ConfigError: The home declares no process unit, or one outside the simulated range.
        UsageError: The package has no soft sensor.
        DecodeError, VerificationError, PolicyRefused: As for ``delivery.apply_and_adopt_package``.
    """
    data = atomic.read_bytes(path, limit=protocol.WEIGHTS_BYTES_LIMIT)
    package = _read_sensor_package(home, data, Inbox(home).read_stored_server_key(path))
    about = package.manifest
    kept_file = home.soft_sensor_packages / f"{about.created:012}-{about.package_id}.wgw"
    if not kept_file.exists():
        if time.time() >= about.expires:
            raise VerificationError(f"package {about.package_id[:16]}: expired: ask for another")
        atomic.write_bytes(kept_file, data, mode=atomic.PRIVATE_FILE_MODE)
    store_package_cosignature(home, data)
    return package


def select_sensor(home: ClientHome) -> SensorPackage:
    """Verify and read the soft sensor to use among those that the home keeps.

    It is the newest that was made from a charged statistic of the plant; without such a package, it
    is the newest that was made from the data sheet alone.

    Raises:
        ConfigError: The home keeps no soft sensor.
        WgError: As for ``store_sensor_package``, if none can be read.
    """
    home.check_initialised()
    if not (kept_files := store.sensor_package_paths(home)):
        raise ConfigError(
            text(
                "{folder}: no soft sensor yet. 'wg-client run' receives one when the operator"
                " starts a campaign; 'wg-client apply' and --package take one from a file",
                folder=home.soft_sensor_packages,
            )
        )
    packages: list[SensorPackage] = []
    errors: list[VerificationError] = []
    for kept_file in reversed(kept_files):
        try:
            package = _read_sensor_package(
                home, atomic.read_bytes(kept_file, limit=protocol.WEIGHTS_BYTES_LIMIT)
            )
        except VerificationError as error:  # The server's key or the home's encoder has changed
            errors.append(error)
            continue
        packages.append(package)
        if package.manifest.condition.statistic:
            return package
    if not packages:
        raise VerificationError(
            f"{errors[0]}; the operator's next campaign brings another"
        ) from errors[0]
    return packages[0]


def _read_sensor_package(
    home: ClientHome, package_bytes: bytes, package_public_key: str = ""
) -> SensorPackage:
    """Verify a package for the home's process unit, and read its soft sensor."""
    plant = plants.open_plant_data(home, package_public_key)
    check_message_type(plant.config, protocol.DELIVERY_MESSAGE_TYPE)
    key = signing.public_from_hex(plant.server_public_key, input_name="server.signing_key")
    package, tensors = weights_file.decode_weights_package(package_bytes, key)
    check_recipient(plant, package)
    log, sheet = plant.config.data.reading.log, plant.config.data_sheet
    unit = registry.declared_process_unit(sheet)
    if unit is None or sheet is None or log is None:
        raise ConfigError(f"{home.data_sheet}: states no process unit; no soft sensor is for it")
    candidates = package.candidates
    if [candidate.architecture for candidate in candidates] != [catalogue.PROCESS_SENSOR_NETWORK]:
        raise UsageError(
            text(
                "package {package}: holds no soft sensor; 'wg-client apply' takes it",
                package=package.package_id[:16],
            )
        )
    if package.condition.data_sheet != unit.name:
        raise DecodeError(
            f"package {package.package_id[:16]}: for a {package.condition.data_sheet}, and this"
            f" plant states a {unit.name}"
        )
    if not len(plant.data):
        raise ConfigError(f"{home.root}: no record is frozen, by which inputs are standardised")
    records = np.stack([np.asarray(record) for record in plant.data.records])
    network = tensors[candidates[0].name]
    sensor = process_sensor.rebuild_sensor(unit, unit.read_figures(sheet), network, records)
    return SensorPackage(sensor, package, log.channels)
