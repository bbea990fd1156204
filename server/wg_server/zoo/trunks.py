"""Trunks that a zoo's plan names: their files are read, and tried on artificial images."""

from pathlib import Path

from wg_common.modalities.base import read_file
from wg_common.nets.encoder import package, trial
from wg_common.nets.encoder.onnx_file import FILE_LIMIT, OnnxFile
from wg_common.nets.encoder.trunk import TrunkKind, installed_trunks
from wg_server.zoo.plan import ZooPlan


def read_plan_trunks(plan: ZooPlan) -> tuple[TrunkKind, ...]:
    """Read and try the trunks of a plan's encoder; features of the first are released.

    Raises:
        DataError: A file cannot be read, or is too large.
        ConfigError: A trunk is unknown, or a required package is missing.
        DecodeError, VerificationError: See ``trial.try_and_time_file``.
    """
    choices = plan.encoder.trunks
    paths = [choice.file for choice in choices]
    files = {path: read_file(Path(path), FILE_LIMIT) for path in paths if path}
    kinds = package.choose_trunks(plan.modality, choices, files)
    return tuple(
        trial.try_and_time_file(kind)[0] if isinstance(kind, OnnxFile) else kind for kind in kinds
    )


def trunk_advice_lines(plan: ZooPlan) -> list[str]:
    """Return advice on each trunk that a plan without ``trunks`` could name beside the default."""
    candidates = () if plan.encoder.trunks else installed_trunks(plan.modality)[1:]
    return [f"encoder.trunks could name {trunk.label}: {trunk.advice}" for trunk in candidates]
