"""Training and evaluation of the generator for one kind of machine or process unit.

Each training is one job, since kinds share nothing but the encoder: workers train several kinds
side by side. A worker returns its networks as a package, not as objects of torch.
"""

from dataclasses import asdict, dataclass
from typing import Any

from wg_common.nets.encoder import package as encoders
from wg_common.nets.encoder.reading_map import ReadingMap
from wg_common.streams import Stream
from wg_server.generator.weights import (
    data_sheet_card,
    data_sheet_generation,
    machine_test_set,
    sensor_training,
    training,
)
from wg_server.generator.weights.data_sheet_generation import DataSheetGenerator
from wg_server.generator.weights.machine_networks import NetworkSizes
from wg_server.generator.weights.machine_training import (
    MachineObjective,
    SimulatedMachineCounts,
    machine_simulator,
)
from wg_server.generator.weights.process_simulation import PROCESS_SIMULATORS
from wg_server.generator.weights.sensor_training import SensorObjective
from wg_server.generator.weights.training import Progress, TrainingSchedule


@dataclass(frozen=True, slots=True)
class KindTraining:
    """Settings of the training for one kind.

    Attributes:
        kind: Name of a kind of machine or process unit; the encoder has its reading map.
        steps: Number of training steps.
        seed: Seed of all random numbers.
        machine_counts: Numbers of simulated machines or units.
    """

    kind: str
    steps: int
    seed: int
    machine_counts: SimulatedMachineCounts


def train_kind(
    encoder_package: bytes, settings: KindTraining, progress: Progress
) -> tuple[bytes, dict[str, Any]]:
    """Train and evaluate the networks or the soft sensors for one kind.

    Returns:
        Package of a generator for this kind alone, and its model card.
    """
    reading_map = encoders.unpack_encoder(encoder_package).reading_maps[settings.kind]
    train = _train_soft_sensor if settings.kind in PROCESS_SIMULATORS else _train_machine_networks
    generator, card = train(settings, reading_map, progress)
    return data_sheet_generation.pack_sheet_generator(generator), card


def _train_soft_sensor(
    settings: KindTraining, reading_map: ReadingMap, progress: Progress
) -> tuple[DataSheetGenerator, dict[str, Any]]:
    counts, seed = settings.machine_counts, settings.seed
    objective = SensorObjective(settings.kind, reading_map, counts.validation, seed)
    state = training.train_module(objective, TrainingSchedule(steps=settings.steps), progress)
    card = sensor_training.calibrate_and_evaluate(objective.model, counts.test, seed)
    generator = DataSheetGenerator({}, {settings.kind: objective.model.network})
    return generator, {"training": asdict(state), **card}


def _train_machine_networks(
    settings: KindTraining, reading_map: ReadingMap, progress: Progress
) -> tuple[DataSheetGenerator, dict[str, Any]]:
    counts, seed = settings.machine_counts.with_pool_for_steps(settings.steps), settings.seed
    objective = MachineObjective(settings.kind, reading_map, NetworkSizes(), counts, seed)
    state = training.train_module(objective, TrainingSchedule(steps=settings.steps), progress)
    progress(settings.steps, "writing the card")
    trial = machine_test_set.draw_test_set(
        machine_simulator(settings.kind, seed, Stream.SHEET_TEST), reading_map, counts.test
    )
    networks, card = data_sheet_card.select_networks(objective.model, trial, seed)
    generator = DataSheetGenerator({settings.kind: networks}, {})
    return generator, {"training": asdict(state), **card}
