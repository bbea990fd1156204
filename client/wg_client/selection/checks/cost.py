"""WG-F09: one record takes too long, or the weights too much memory, on this machine."""

from wg_client.models.manifest import Finding
from wg_client.selection.checks.base import Comparison
from wg_core.language import text

CODE = "WG-F09"


def check(comparison: Comparison) -> Finding | None:
    """Passed if time and memory are within the limits.

    Time is from a record in memory to its features, the least of three. Memory is that of weights,
    the encoder's among them, and not what the program and its libraries take.
    """
    probe, policy = comparison.probe, comparison.policy.checks
    if probe is None:
        return None
    seconds = probe.seconds(comparison.model.trunk)
    weights = sum(values.nbytes for values in comparison.model.tensors().values())
    mebibytes = (weights + probe.weight_bytes) / 2**20
    return Finding(
        model=comparison.name,
        code=CODE,
        passed=seconds <= policy.seconds and mebibytes <= policy.mebibytes,
        figures={
            "seconds": seconds,
            "seconds_limit": policy.seconds,
            "mebibytes": mebibytes,
            "mebibytes_limit": policy.mebibytes,
        },
        message=text(
            "A record takes {milliseconds:.0f} ms here, and the weights {mebibytes:.1f} MiB;"
            " {most:g} ms and {limit:g} MiB are allowed.",
            milliseconds=1000 * seconds,
            mebibytes=mebibytes,
            most=1000 * policy.seconds,
            limit=policy.mebibytes,
        ),
    )
