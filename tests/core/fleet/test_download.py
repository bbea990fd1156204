"""A large package: resumed, bounded, verified, and never half there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from wg_core.errors import ConfigError, DecodeError, PeerError, VerificationError
from wg_core.fleet import download
from wg_core.fleet.download import fetch
from wg_core.fleet.inbox import Inbox
from wg_core.site.home import ClientHome
from wg_core.wire.protocol import PackageOffer

PACKAGE = bytes(range(256)) * 40


def offer(data: bytes = PACKAGE, *, chunk: int = 1000, size: int | None = None) -> PackageOffer:
    return PackageOffer(
        request_id="0" * 32,
        site="a",
        package_sha256=hashlib.sha256(data).hexdigest(),
        size=len(data) if size is None else size,
        chunk=chunk,
    )


class Server:
    """Serves ranges of a package; ``cuts`` are offsets at which the line is cut, once each."""

    def __init__(self, data: bytes = PACKAGE, cuts: tuple[int, ...] = ()) -> None:
        self.data = data
        self.cuts = list(cuts)
        self.asked: list[tuple[int, int]] = []
        self.sent = 0

    def get(self, start: int, stop: int) -> Iterator[bytes]:
        self.asked.append((start, stop))
        for at in range(start, stop, 100):
            piece = self.data[at : min(at + 100, stop)]
            if self.cuts and at + len(piece) > self.cuts[0]:
                cut = self.cuts.pop(0)
                yield self.data[at:cut]
                raise PeerError("cut")
            self.sent += len(piece)
            yield piece


def go_on(tries: int) -> bool:
    return False


def test_a_package_comes_in_ranges_of_the_size_that_was_offered(tmp_path: Path) -> None:
    server = Server()
    path = fetch(offer(), tmp_path, server.get, pause=go_on)
    assert path.read_bytes() == PACKAGE
    assert all(stop - start <= 1000 for start, stop in server.asked)
    assert path.stat().st_mode & 0o077 == 0


def test_the_plant_bounds_a_range_whatever_the_server_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "CHUNK_LIMIT", 500)
    server = Server()
    fetch(offer(chunk=len(PACKAGE)), tmp_path, server.get, pause=go_on)
    assert max(stop - start for start, stop in server.asked) == 500


def test_a_cut_line_costs_only_the_rest(tmp_path: Path) -> None:
    server = Server(cuts=(1, 1234, 1234, 5000, len(PACKAGE) - 1))
    path = fetch(offer(), tmp_path, server.get, pause=go_on)
    assert path.read_bytes() == PACKAGE
    assert server.sent <= len(PACKAGE)


def test_what_came_before_the_node_died_is_not_fetched_again(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fetch(offer(), tmp_path, dying(Server(), 5000), pause=go_on)
    server = Server()
    assert fetch(offer(), tmp_path, server.get, pause=go_on).read_bytes() == PACKAGE
    assert server.asked[0][0] >= 4000


def dying(server: Server, at: int) -> download.GetRange:
    def get(start: int, stop: int) -> Iterator[bytes]:
        if start >= at:
            raise KeyboardInterrupt
        yield from server.get(start, stop)

    return get


def test_a_line_that_stays_dead_gives_the_message_back_and_keeps_what_came(
    tmp_path: Path,
) -> None:
    server = Server(cuts=(2000,) * 100)
    waits: list[int] = []

    def pause(tries: int) -> bool:
        waits.append(tries)
        return False

    with pytest.raises(PeerError, match="cut"):
        fetch(offer(), tmp_path, server.get, pause=pause)
    assert waits[-1] == download.TRIES - 1
    (part,) = tmp_path.iterdir()
    assert part.read_bytes() == PACKAGE[:2000]


def test_a_node_that_is_told_to_stop_stops_and_keeps_what_came(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="stops"):
        fetch(offer(), tmp_path, Server().get, pause=lambda tries: True)
    assert (tmp_path / f"{offer().package_sha256}.part").stat().st_size == 1000


def test_a_package_with_another_hash_is_deleted(tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="hash"):
        fetch(offer(), tmp_path, Server(PACKAGE[::-1]).get, pause=go_on)
    assert list(tmp_path.iterdir()) == []


def test_more_than_was_asked_for_is_not_written(tmp_path: Path) -> None:
    def flood(start: int, stop: int) -> Iterator[bytes]:
        while True:
            yield PACKAGE

    with pytest.raises(PeerError, match="more than"):
        fetch(offer(), tmp_path, flood, pause=go_on)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) == 0


def test_a_disk_without_room_is_found_before_anything_is_asked(tmp_path: Path) -> None:
    server = Server()
    room = download.RESERVE + 2 * len(PACKAGE) - 1
    with pytest.raises(ConfigError, match="the disk has room for"):
        fetch(offer(), tmp_path, server.get, pause=go_on, free=lambda folder: room)
    assert server.asked == []
    fetch(offer(), tmp_path, server.get, pause=go_on, free=lambda folder: room + 1)


def test_half_of_another_package_is_given_up(tmp_path: Path) -> None:
    (tmp_path / f"{'1' * 64}.part").write_bytes(b"half")
    path = fetch(offer(), tmp_path, Server().get, pause=go_on)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("size", "chunk"), [(0, 1), (-1, 1), (10, 0), (10, 11), (1 << 60, 1)])
def test_an_offer_of_an_impossible_size_is_refused(size: int, chunk: int) -> None:
    with pytest.raises(DecodeError, match="size"):
        offer(size=size, chunk=chunk)


def test_a_fetched_package_waits_once_and_gives_one_receipt(tmp_path: Path) -> None:
    inbox = Inbox(ClientHome(tmp_path))
    server = Server()

    def bring(folder: Path) -> Path:
        return fetch(offer(), folder, server.get, pause=go_on)

    receipt = inbox.receive_file(offer(), bring)
    (path,) = inbox.waiting()
    assert path.read_bytes() == PACKAGE
    inbox.done(path)
    asked = len(server.asked)
    assert inbox.receive_file(offer(), bring) == receipt
    assert inbox.waiting() == [] and len(server.asked) == asked
    assert inbox.receive_file(offer(PACKAGE[1:]), bring) == receipt  # the first one counts
