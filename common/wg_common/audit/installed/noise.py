"""Checks of the noise: as wide as charged, in each entry, never twice; and of identifiers."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np

from wg_common.audit.installed.plant import SIGMAS, Check, Frozen, check


def identifiers(same: Frozen) -> Check:
    """Identifiers of one data set's releases have no part that stays."""
    names = [each.file.manifest.release_id for each in (same.exact, *same.noisy)]
    sizes = {len(name) for name in names}
    wrong = [] if len(sizes) == 1 else [f"release ids of {sorted(sizes)} characters"]
    fixed = [n for n, letters in enumerate(zip(*names, strict=False)) if len(set(letters)) == 1]
    if fixed:
        wrong.append(f"characters {fixed[:8]} of release ids stay the same")
    return check("identifiers say nothing of the data", wrong, f"{len(names)} ids, none fixed")


def checks(frozen: Sequence[Frozen]) -> Iterator[Check]:
    """Hold what releases have beyond the exact statistics against what they state."""
    noisy = [each for one in frozen for each in one.noisy]
    every = np.stack([each.noise for each in noisy])
    blocks, schema = noisy[0].file.blocks(), noisy[0].file.manifest.schema
    wrong = [
        f"release {number} is not what the sampler answered"
        for number, each in enumerate(noisy)
        if not np.array_equal(each.answered, each.file.integers)
    ]
    wrong += [
        f"release {number} was sampled with sigma {sigma:.6g}, it states {each.file.sigma:.6g}"
        for number, each in enumerate(noisy)
        for sigma in each.sigmas
        if sigma != each.file.sigma
    ]
    yield check("what leaves is what was sampled, as stated", wrong, f"{len(noisy)} releases")

    wrong = []
    for name, part in blocks.items():
        values = every[:, part]
        width = math.sqrt(2 / values.size)
        if abs(values.var() - 1) > SIGMAS * width:
            wrong.append(f"{name}: variance {values.var():.3f} of what the charge says")
        if abs(values.mean()) > SIGMAS / math.sqrt(values.size):
            wrong.append(f"{name}: the noise has a mean")
    yield check("the noise of each block is as wide as charged", wrong, f"{every.size} entries")

    energy = (every**2).sum(axis=0)
    least = _chi_squared_quantile(1e-9 / energy.size, len(every))
    quiet = np.flatnonzero(energy < least)
    wrong = [f"entries {quiet[:5].tolist()} have too little noise"] if quiet.size else []
    yield check("no entry is without noise", wrong, f"{energy.size} entries, {len(every)} times")

    length = every.shape[1]
    shared = [
        f"releases {a} and {b} share noise"
        for a, b in itertools.combinations(range(len(every)), 2)
        if abs(every[a] @ every[b]) > SIGMAS * math.sqrt(length)
    ]
    near = [
        f"entries {lag} apart share noise"
        for lag in {1, blocks["counts"].stop, schema.dimension}
        if abs((every[:, lag:] * every[:, :-lag]).sum())
        > SIGMAS * math.sqrt(len(every) * (length - lag))
    ]
    yield check("noise is never used twice", shared + near, f"{len(every)} releases")


def _chi_squared_quantile(probability: float, freedom: int) -> float:
    from scipy.special import gammaincinv

    return float(2 * gammaincinv(freedom / 2, probability))
