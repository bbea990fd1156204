"""From a plan to a generator of networks from data sheets, with its card; no zoo is needed."""

from pathlib import Path
from typing import Any

from wg_common.streams import Stream
from wg_core.wire import canonical
from wg_server.generator.training import loop
from wg_server.generator.training.loop import Progress
from wg_server.generator.weights import sheet_card, sheet_generation
from wg_server.generator.weights.sheet_networks import Sizes
from wg_server.generator.weights.sheet_plan import SheetTraining
from wg_server.generator.weights.sheet_training import SheetObjective, draw, workshop


def make(
    plan: SheetTraining, seed: int, checkpoint: Path, progress: Progress
) -> tuple[bytes, dict[str, Any]]:
    """Train, judge and pack a generator.

    Args:
        seed: Of everything random.
        checkpoint: Of the training; whoever keeps the result removes it.
        progress: Told of evaluations.

    Returns:
        Its package and its card.
    """
    objective = SheetObjective(Sizes(), plan.batch, plan.windows, plan.episodes, seed)
    document = {key: str(value) for key, value in canonical.to_builtins(plan).items()}
    identity = canonical.sha256_hex(canonical.encode({**document, "seed": seed}))
    state = loop.train(objective, plan, checkpoint, identity, progress)
    progress(plan.steps, "writing the card of data sheets")
    zoo = workshop(seed, Stream.SHEET_ZOO).machines(plan.zoo)
    judged = draw(workshop(seed, Stream.SHEET_TEST), plan.test_machines, plan.test_windows)
    generator, card = sheet_card.judged(objective.model, zoo, judged, seed)
    packed = sheet_generation.pack(generator)
    training = {**state.figures(), "plan": canonical.to_builtins(plan)}
    return packed, {"generator": canonical.sha256_hex(packed), "training": training, **card}
