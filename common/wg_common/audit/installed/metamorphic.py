"""Checks without noise: what one record, a name, a copy or the labels' order change, to the bit."""

from collections.abc import Iterator, Mapping

import numpy as np

from wg_common.audit.installed.plant import Check, Frozen, Integers, Opened, check
from wg_common.wire import canonical

_OWN = frozenset({"release_id", "integers_sha256"})
"""Fields of a manifest that are new in each release, or follow from its noise."""
_OWN_CHARGE = frozenset({"head", "commitment", "lineage", "fingerprint", "state"})
"""Fields of a charge that follow from a ledger's own keys and salts, or are compared apart."""
_OWN_STATE = frozenset({"anchored_root"})  # Fields of a charge's budget that follow from them


def checks(found: Mapping[str, Frozen], classes: int) -> Iterator[Check]:
    """Hold the exact statistics of ``datasets.neighbours`` against each other."""
    exact = {name: each.exact.exact for name, each in found.items()}
    company, other = exact["company"], exact["other company"]
    wrong, long = [], []
    allowed = int(found["company"].exact.file.charge.mechanism.sensitivity_squared)
    for kind in ("", ", unlabelled", ", bright"):
        name = f"company with one more{kind}"
        vector = exact[name] - company
        if not np.array_equal(vector, exact[f"other {name}"] - other):
            wrong.append(f"a record{kind} adds another vector in other company")
        square = sum(int(x) ** 2 for x in vector)
        if not 0 < square <= allowed:
            long.append(f"a record{kind} adds a vector of squared length {square / allowed:.4f}")
    gone = company - exact["company without one"]
    if not 0 < sum(int(x) ** 2 for x in gone) <= allowed:
        long.append("a record that is taken away takes more than the charge says")
    yield check("one record more changes nothing else", wrong, "three records, two companies")
    yield check("no record adds more than the sensitivity", long, f"at most {allowed} squared")

    wrong = [
        f"{what} change{'s' if what[-1] != 's' else ''} the statistics"
        for what, name in (
            ("names and order of files", "company, renamed"),
            ("a copy of a file", "company with a copy"),
        )
        if not np.array_equal(company, exact[name])
    ]
    yield check("names, order and copies change nothing", wrong, "bit-equal statistics")

    expected = _with_turned_labels(found["company"].exact.file, company, classes)
    turned = exact["company, labels permuted"]
    wrong = [] if np.array_equal(expected, turned) else ["blocks are not permuted with the labels"]
    yield check("permuted labels permute the release", wrong, "bit-equal statistics")

    first = found["company"]
    wrong = [
        f"{name}: {difference}"
        for name, each in found.items()
        for one, two in zip(first.noisy, each.noisy, strict=True)
        for difference in _differences(one.file, two.file)
    ]
    yield check(
        "neighbours differ in nothing but noise and fresh identifiers",
        wrong,
        f"sizes, manifests and charges of {len(found)} data sets agree",
    )


def _differences(one: Opened, two: Opened) -> list[str]:
    """In what two answers to one question differ, beyond noise and what is fresh in each."""
    found = [] if one.size == two.size else [f"{one.size} bytes and {two.size}"]
    for kind, left, right, own in (
        ("manifest", one.manifest, two.manifest, _OWN),
        ("charge", one.charge, two.charge, _OWN_CHARGE),
        ("budget", one.charge.state, two.charge.state, _OWN_STATE),
    ):
        a, b = canonical.to_builtins(left), canonical.to_builtins(right)
        found += [f"{kind} field {name}" for name in a if name not in own and a[name] != b[name]]
    heads = [canonical.to_builtins(file.charge.head) for file in (one, two)]
    found += [f"charge head {name}" for name in ("seq", "time") if heads[0][name] != heads[1][name]]
    return found


def _with_turned_labels(file: Opened, exact: Integers, classes: int) -> Integers:
    """The exact statistics with label k in the place of label K - 1 - k."""
    turned = exact.copy()
    for name, part in file.blocks().items():
        values = exact[part]
        if name == "counts":
            turned[part] = np.concatenate([values[:classes][::-1], values[classes:]])
        elif name == "sums":
            turned[part] = values.reshape(classes, -1)[::-1].ravel()
    return turned
