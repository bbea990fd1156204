"""Hostile files: a part of ``python -m bench.hostile``.

*Quality reports* (``.wgq``) of an enrolled plant with its true keys and ledger: what no records can
give, what is not a report, what its ledger does not pay for, other sites' and old ones; and reports
with one byte changed. Each goes to the server's own ``quality.accept``. A lie that records could
give is among them: nothing can find it.

*YAML*: documents that ask for more work than they are long, as every file that a person writes:
``client.yaml``, ``server.yaml``, plans of zoo and generator, a pilot's figures, a local encoder's
description. Each is read by the product's reader, and must be refused with its name.

Counted are refusals; measured are the longest time and the most memory that one file took.
"""

import dataclasses
import secrets
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.core.test_settings import HOSTILE
from tests.server.campaigns.test_quality import ASKED, Signer, Teller, replace_site

from wg_client.pilot import sheet
from wg_core.errors import WgError
from wg_core.privacy.quality import WEIGHT
from wg_core.site import config as configuration
from wg_core.site import local_encoder
from wg_core.site.home import ClientHome
from wg_core.wire import protocol, quality_file, signing
from wg_server.campaigns import quality
from wg_server.generator import plan as generator_plan
from wg_server.site.home import ServerHome
from wg_server.store.quality import Subject
from wg_server.zoo import plan as zoo_plan

FLIPS = 300
REFUSED, APART, TAKEN = "refused", "kept apart as implausible", "taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What hostile files of one kind met."""

    kind: str
    outcomes: dict[str, int]
    seconds: float
    megabytes: float


def reports(folder: Path, *, flips: int = FLIPS) -> list[Met]:
    """What hostile quality reports meet at the server."""
    teller = Teller("plant-a", folder, Signer())
    return [_met(kind, uses) for kind, uses in _reports(teller, folder, flips)]


def documents() -> list[Met]:
    """What hostile YAML meets, by the file that it stands for."""
    return [
        _met(name, (_reading(reader, data) for data in _bombs().values()))
        for name, reader in READERS.items()
    ]


Use = Callable[[], str]
"""Gives one file to the product; says what came of it, or raises its error."""


def _met(kind: str, uses: Iterator[Use]) -> Met:
    outcomes: dict[str, int] = {}
    seconds = most = 0.0
    tracemalloc.start()
    for use in uses:
        tracemalloc.reset_peak()
        started, held = time.process_time(), tracemalloc.get_traced_memory()[0]
        try:
            outcome = use()
        except WgError:
            outcome = REFUSED
        seconds = max(seconds, time.process_time() - started)
        most = max(most, tracemalloc.get_traced_memory()[1] - held)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    tracemalloc.stop()
    return Met(kind=kind, outcomes=outcomes, seconds=seconds, megabytes=most / 1e6)


def _reports(  # long: one list of attacks, by kind
    teller: Teller, folder: Path, flips: int
) -> Iterator[tuple[str, Iterator[Use]]]:
    subject = _subject()
    honest = teller.report(subject, _integers(120, 85, 40))
    rng = np.random.default_rng(1)

    def to_server(data: bytes, about: Subject = subject, **asked: str) -> Use:
        def use() -> str:
            _, _, odd = quality.accept(
                replace_site(
                    name=teller.site,
                    signing_key=signing.public_bytes(teller.key).hex(),
                    ledger_origin=teller.origin,
                    ledger_key=signing.public_bytes(teller.log_key).hex(),
                ),
                data,
                about,
                dataclasses.replace(ASKED, **asked),
                witness=teller.witness,
                now=5.0,
            )
            return APART if odd else TAKEN

        return use

    def lying(integers: NDArray[np.int64], **fields: Any) -> Use:
        """Build and send: what this program refuses to write is refused as well."""

        def use() -> str:
            return to_server(teller.report(subject, integers, said=lambda x: {**x, **fields}))()

        return use

    most = 1 << 62
    impossible = [(-80, 0, 0), (120, 240, 0), (120, 0, -80), (0, 1e6, 0), (-1e12, 0, 0)]
    yield (
        "counts that no records give",
        iter(
            [
                *(to_server(teller.report(subject, _integers(*row))) for row in impossible),
                to_server(teller.report(subject, np.array([most, -most, most]))),
                to_server(teller.report(subject, np.array([-most, most, most]))),
            ]
        ),
    )
    yield (
        "sizes and numbers that are none",
        iter(
            [
                *(lying(_integers(9, 5, 4), **{name: "nan"}) for name in ("epsilon", "sigma")),
                *(lying(_integers(9, 5, 4), **{name: "inf"}) for name in ("delta", "sigma")),
                lying(np.frombuffer(np.full(4, np.nan).tobytes(), np.int64)),
                lying(_integers(9, 5)),
                lying(np.zeros(1 << 20, np.int64)),
                lying(_integers(9, 5, 4), candidates=("mean",) * (1 << 16)),
                to_server(b""),
                to_server(honest[: len(honest) // 2]),
                to_server(honest + b"\0" * protocol.QUALITY_LIMIT),
                to_server(secrets.token_bytes(protocol.QUALITY_LIMIT)),
            ]
        ),
    )
    other = Teller("plant-b", folder, teller.witness)
    theirs = other.report(dataclasses.replace(subject, site="plant-b"), _integers(9, 5, 4))
    yield (
        "another site's, package's or question's",
        iter(
            [
                to_server(theirs),
                lying(_integers(9, 5, 4), site="plant-b"),
                lying(_integers(9, 5, 4), package_sha256="33" * 32),
                to_server(honest, dataclasses.replace(subject, package_id="33" * 16)),
                to_server(honest, dataclasses.replace(subject, candidates=("mean", "kin"))),
                to_server(honest, epsilon="2"),
                to_server(honest, encoder="33" * 32),
            ]
        ),
    )
    covered = quality_file.decode_covered(honest)
    again = quality_file.decode_covered(teller.report(subject, _integers(10, 10, 10)))
    yield (
        "not paid for",
        iter(
            [
                to_server(
                    quality_file.encode_covered(dataclasses.replace(covered, release=again.release))
                ),
                lying(_integers(9, 5, 4), request_id="33" * 16),
                lying(_integers(9, 5, 4), dataset="other"),
                lying(_integers(9, 5, 4), sensitivity_squared="1"),
            ]
        ),
    )
    places = rng.choice(len(honest), flips, replace=False)
    yield (
        "one byte changed",
        (
            to_server(honest[:at] + bytes([honest[at] ^ (1 << at % 8)]) + honest[at + 1 :])
            for at in map(int, places)
        ),
    )
    yield "the same report again, to the same question", iter([to_server(honest)] * 3)
    yield "a lie that records could give", iter([lying(_integers(120, 0, 120))])


def _subject() -> Subject:
    return Subject(
        site="plant-a",
        delivery_id="dd" * 16,
        package_id="ef" * 16,
        package_sha256="22" * 32,
        conditioned=False,
        candidates=("mean", "sample-0"),
    )


def _integers(*counts: float) -> NDArray[np.int64]:
    return np.array([round(each * WEIGHT) for each in counts], dtype=np.int64)


def _bombs() -> dict[str, bytes]:
    more = {
        "merged keys": "a: &a {x: 1}\n" + "".join(f"b{n}: {{<<: *a}}\n" for n in range(5_000)),
        "an anchor without an alias": "".join(f"a{n}: &a{n} [x]\n" for n in range(60_000)),
        "sets in sets": "? " * 3_000 + "a",
        "a folded text": "a: >\n" + " x\n" * 200_000,
        "comments alone": "#" * (900 << 10),
        "a large file": "a: " + "x, " * (2 << 20),
        "quotes that never close": 'a: "' + "\\x41" * 200_000,
        "long keys": "".join(f"{'k' * 4_000}{n}: 1\n" for n in range(200)),
    }
    return {k: v if isinstance(v, bytes) else v.encode() for k, v in (HOSTILE | more).items()}


def _reading(reader: Callable[[Path], object], data: bytes) -> Use:
    def use() -> str:
        with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder:
            path = Path(folder) / "x.yaml"
            path.write_bytes(data)
            reader(path)
        return TAKEN

    return use


def _as_client(path: Path) -> object:
    return configuration.load(ClientHome(path.rename(path.with_name("client.yaml")).parent))


def _as_server(path: Path) -> object:
    return ServerHome(path.rename(path.with_name("server.yaml")).parent).config()


READERS: dict[str, Callable[[Path], object]] = {
    "client.yaml": _as_client,
    "server.yaml": _as_server,
    "a zoo's plan": zoo_plan.read_plan,
    "a generator's plan": generator_plan.read_plan,
    "a pilot's figures": sheet.read_figures,
    "a local encoder's description": lambda path: local_encoder.read(str(path)),
}
