"""Bad inputs, one row each: commands that are given a wrong file, a wrong name or a broken home."""

from __future__ import annotations

from typing import Any

from tests.client.cli.bad_inputs import Bad, World

from wg_audit.cli import group as auditor
from wg_server.cli.main import main_group as server


def _given(name: str, *words: str, data: bytes, said: tuple[str, ...], **more: Any) -> Bad:
    """A command that is given a wrong file; ``FILE`` and ``HOME`` stand for it and the plant."""

    def made(world: World) -> list[object]:
        file = world.folder / "given.bin"
        file.write_bytes(data)
        home = world.operator if more.get("program") is server else world.plant.home.root
        gone = world.folder / "gone"
        gone.mkdir()
        (gone / "server.yaml").write_bytes((world.operator / "server.yaml").read_bytes())
        places = {"FILE": file, "HOME": home, "NEW": world.folder / "new", "GONE": gone}
        return [places.get(word, word) for word in words]

    return Bad(f"given: {name}", made, more.pop("code", 3), said, **more)


WORDS = b"hello"
RESTORE = ("restore", "--home", "NEW", "--backup", "FILE", "--passphrase-file", "FILE")
AUDIT = ("verify", "HOME")
GIVEN = [
    _given("backup", *RESTORE, data=WORDS, said=("given.bin", "no backup")),
    _given("server's", *RESTORE, data=WORDS, said=("given.bin", "no backup"), program=server),
    _given(
        "wheel", "digest", "--wheel", "FILE", data=WORDS, said=("not a wheel",), program=auditor
    ),
    _given("note", *AUDIT, "--checkpoint", "FILE", data=WORDS, said=("given",), program=auditor),
    _given("folder", *AUDIT, "--server", "FILE", data=WORDS, said=("export",), program=auditor),
    _given(
        "witness",
        *AUDIT,
        "--witness-key",
        "a",
        data=b"",
        said=("NAME=HEX",),
        program=auditor,
        code=2,
    ),
    _given(
        "age", *AUDIT, "--max-age", "7", data=b"", said=("--max-age", "7d"), program=auditor, code=2
    ),
    _given(
        "passphrase",
        *("backup", "--home", "HOME", "--out", "NEW", "--passphrase-file", "FILE"),
        data=b"",
        said=("given.bin", "0 bytes"),
    ),
    _given(
        "recipient",
        *("backup", "--home", "HOME", "--out", "NEW", "--recipient", "age1x"),
        data=b"",
        said=("age1",),
    ),
    _given(
        "plan",
        "zoo",
        "build",
        "--home",
        "HOME",
        "--plan",
        "big",
        data=b"",
        program=server,
        said=("big", "packaged are", "default"),
    ),
    _given("no zoo", "train", "--home", "HOME", data=b"", program=server, said=("zoo build",)),
    _given("site", "revoke", "--home", "HOME", "x", data=b"", program=server, said=("sites",)),
    _given("name", "enroll", "--home", "HOME", "A B", data=b"", program=server, said=("'A B'",)),
    _given("no database", "sites", "--home", "GONE", data=b"", program=server, said=("restore",)),
    _given(
        "id",
        "generator",
        "--home",
        "HOME",
        "--use",
        "ab",
        data=b"",
        program=server,
        said=("'ab'", "wg-server generator"),
    ),
]
