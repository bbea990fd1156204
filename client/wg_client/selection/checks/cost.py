"""WG-F09: one record takes too long, or the weights too much memory, on this machine."""

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_core.language import text

CODE = "WG-F09"
_SECONDS = 1.0  # Most time that one record may take here
_MEBIBYTES = 1024.0  # Most memory for weights


def check(comparison: Comparison) -> Finding | None:
    """Passed if time and memory are within the limits.

    Time is from a record in memory to its features, the least of three. Memory is that of weights,
    the encoder's among them, and not what the program and its libraries take.
    """
    probe = comparison.probe
    if probe is None:
        return None
    seconds = probe.seconds(comparison.model.trunk)
    weights = sum(values.nbytes for values in comparison.model.tensors().values())
    mebibytes = (weights + probe.weight_bytes) / 2**20
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=seconds <= _SECONDS and mebibytes <= _MEBIBYTES,
        figures={
            "seconds": seconds,
            "seconds_limit": _SECONDS,
            "mebibytes": mebibytes,
            "mebibytes_limit": _MEBIBYTES,
        },
        message=text(
            "A record takes {milliseconds:.0f} ms here, and the weights {mebibytes:.1f} MiB;"
            " {most:g} ms and {limit:g} MiB are allowed.",
            milliseconds=1000 * seconds,
            mebibytes=mebibytes,
            most=1000 * _SECONDS,
            limit=_MEBIBYTES,
        ),
    )
