"""Hostile files: a part of ``python -m bench.hostile``.

*Statistics* (``.wgs``) of an enrolled plant with its true keys and ledger: values that no records
can have, files that are not releases, releases without a charge, releases of other sites and old
ones, and files with one changed byte. Each goes to the server's own ``intake.accept_release``.
False values that records could have are among them: nothing can detect these.

*YAML*: documents that cost much more work than their length suggests, in place of every file that a
person writes: ``client.yaml``, ``server.yaml``, plans of zoo and generator. Each is read by the
product's reader, and must be refused with its file name.

The table has the number of refusals, and the longest time and most memory that one file took.
"""

import dataclasses
import secrets
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.core.ledger.conftest import DELTA, ORIGIN, WITNESS, Site
from tests.core.test_yaml_settings import HOSTILE

from wg_core.errors import WgError
from wg_core.site import config as configuration
from wg_core.site.home import ClientHome
from wg_core.wire import bundle, canonical, protocol, signing, statistics_file
from wg_server.campaigns import release_intake
from wg_server.campaigns.release_intake import QueryTerms
from wg_server.generator import plan as generator_plan
from wg_server.site.home import ServerHome
from wg_server.store.stored_site import StoredSite as Enrolled
from wg_server.zoo import plan as zoo_plan

BYTE_FLIPS, REFUSED, QUARANTINED, ACCEPTED = 300, "refused", "in quarantine", "taken"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOutcomes:
    """Outcomes of hostile files of one kind.

    Attributes:
        kind: Kind of files, in the table.
        outcomes: Number of files by outcome.
        seconds: Longest processor time of a file.
        megabytes: Largest memory of a file, 10^6 bytes.
    """

    kind: str
    outcomes: dict[str, int]
    seconds: float
    megabytes: float


def try_statistics(folder: Path, *, flips: int = BYTE_FLIPS) -> list[FileOutcomes]:
    """Send hostile statistics to the server; return the outcomes by kind."""
    return [_try_files(kind, uses) for kind, uses in Forger(folder).hostile_files(flips)]


def try_documents() -> list[FileOutcomes]:
    """Read hostile YAML; return the outcomes by the file that it replaces."""
    return [
        _try_files(name, (_read_document(reader, data) for data in _costly_documents().values()))
        for name, reader in READERS.items()
    ]


FileUse = Callable[[], str]
"""Function that gives one file to the product, and returns the outcome or raises the product's
error."""


def _try_files(kind: str, uses: Iterator[FileUse]) -> FileOutcomes:
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
    return FileOutcomes(kind=kind, outcomes=outcomes, seconds=seconds, megabytes=most / 1e6)


class Forger:
    """Enrolled plant with valid charges and keys that signs releases with arbitrary content."""

    def __init__(self, folder: Path) -> None:
        self._site = Site(folder, cap="1000")
        self._ledger = self._site.create()

    def make_release(self, integers: NDArray[np.int64] | None = None, **fields: Any) -> bytes:
        """Make a charged and cosigned release with other integers or fields of the manifest."""
        self._site.register(self._ledger, "parts", secrets.token_bytes(8))  # or it was answered
        request = self._site.request(secrets.token_hex(8), "1")
        paid = self._ledger.charge(request)
        honest, before = statistics_file.read_unverified_release(self._site.payload(request))
        integers = before if integers is None else integers
        said = {"integers_sha256": canonical.sha256_hex(integers.astype("<i8").tobytes()), **fields}
        manifest = dataclasses.replace(honest, **said)
        key = self._site.signing_key
        self._ledger.record_release(
            paid.seq, statistics_file.encode_release(manifest, integers, key)
        )
        self._site.cosign(self._ledger)
        return bundle.encode(self._site.covered(self._ledger, request.request_id))

    def send_file(self, data: bytes, **asked: Any) -> FileUse:
        """Return a function that sends the server a file; ``asked`` changes its query's terms."""

        def use() -> str:
            enrolled = Enrolled(
                name="plant-a",
                state="enrolled",
                node_key="",
                enrolled=0.0,
                last_seen=0.0,
                signing_key=signing.public_bytes(self._site.signing_key).hex(),
                ledger_origin=ORIGIN,
                ledger_key=signing.public_bytes(self._site.key).hex(),
            )
            encoder = self._site.request().mechanism.encoder
            terms = QueryTerms(
                **{"encoder_sha256": encoder, "epsilon": "1", "delta": DELTA, **asked}
            )
            witness: Any = SimpleNamespace(
                name=WITNESS, public_key=self._site.witness_key.public_key(), others=(), quorum=1
            )
            stored = release_intake.accept_release(
                enrolled, data, terms, witness=witness, current_time=5.0
            )
            return ACCEPTED if stored.is_usable else QUARANTINED

        return use

    def send_release(self, integers: NDArray[np.int64] | None = None, **fields: Any) -> FileUse:
        """Return a function that makes and sends a release; a refusal to write it counts too."""
        return lambda: self.send_file(self.make_release(integers, **fields))()

    def hostile_files(  # long: a case a lie
        self, flips: int
    ) -> Iterator[tuple[str, Iterator[FileUse]]]:
        """Yield kinds of hostile files, each with functions that send them."""
        honest = self.make_release()
        manifest, zeros = statistics_file.read_unverified_release(
            bundle.decode_statistics(honest).release
        )
        weight, most = manifest.schema.count_weight, np.iinfo(np.int64).max
        counts, sums, _ = manifest.schema.blocks
        impossible = []
        for block, value in ((counts, -(10**4) * weight), (sums, most), (sums, -most)):
            impossible.append(zeros.copy())
            impossible[-1][block.offset : block.offset + block.size] = value
        impossible.append(np.full_like(zeros, most))
        yield "numbers that no records can give", map(self.send_release, impossible)
        nan = np.full(len(zeros), np.nan).view(np.int64)
        yield (
            "invalid sizes and numbers",
            iter(
                [
                    *(self.send_release(None, **{x: "nan"}) for x in ("epsilon", "delta", "sigma")),
                    *(self.send_release(None, **{x: "inf"}) for x in ("epsilon", "delta", "sigma")),
                    self.send_release(zeros[:-1]),
                    self.send_release(np.zeros(1 << 22, np.int64)),
                    self.send_file(b""),
                    self.send_file(honest[: len(honest) // 2]),
                    self.send_file(honest + bytes(protocol.STATISTICS_BYTES_LIMIT)),
                    self.send_file(secrets.token_bytes(1 << 20)),
                ]
            ),
        )
        yield "the bits of NaN as integers", iter([self.send_release(nan)])
        yield (
            "made for another site, encoder or request",
            iter(
                [
                    self.send_release(site="plant-b"),
                    self.send_release(dataset="other"),
                    self.send_release(request_id="33" * 16),
                    self.send_release(purpose="another"),
                    self.send_file(honest, epsilon="2"),
                    self.send_file(honest, delta="1e-6"),
                    self.send_file(honest, encoder="33" * 32),
                ]
            ),
        )
        mine, theirs = map(bundle.decode_statistics, (honest, self.make_release()))
        swapped = dataclasses.replace(mine, release=theirs.release)
        yield (
            "not charged",
            iter(
                [
                    self.send_file(bundle.encode(swapped)),
                    self.send_release(sensitivity_squared="1"),
                    self.send_release(sigma=(1.0).hex()),
                ]
            ),
        )
        places = map(int, np.random.default_rng(1).choice(len(honest), flips, replace=False))
        changed = (honest[:x] + bytes([honest[x] ^ (1 << x % 8)]) + honest[x + 1 :] for x in places)
        yield "one byte changed", map(self.send_file, changed)
        yield "the same file again, to the same question", iter([self.send_file(honest)] * 3)
        exchanged = zeros.copy()
        exchanged[: counts.size] = 100 * weight
        yield "false numbers that records could give", iter([self.send_release(exchanged)])


def _costly_documents() -> dict[str, bytes]:
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


def _read_document(reader: Callable[[Path], object], data: bytes) -> FileUse:
    def use() -> str:
        with tempfile.TemporaryDirectory(prefix="wg-bench-") as folder:
            path = Path(folder) / "x.yaml"
            path.write_bytes(data)
            reader(path)
        return ACCEPTED

    return use


def _read_client_settings(path: Path) -> object:
    return configuration.load(ClientHome(path.rename(path.with_name("client.yaml")).parent))


def _read_server_settings(path: Path) -> object:
    return ServerHome(path.rename(path.with_name("server.yaml")).parent).read_config()


READERS: dict[str, Callable[[Path], object]] = {
    "client.yaml": _read_client_settings,
    "server.yaml": _read_server_settings,
    "a zoo's plan": zoo_plan.read_plan,
    "a generator's plan": generator_plan.read_plan,
}
