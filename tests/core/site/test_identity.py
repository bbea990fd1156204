from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from wg_core.errors import ConfigError
from wg_core.site import identity
from wg_core.site.home import ClientHome
from wg_core.wire import key_files, signing


def test_keys_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    first = identity.create_identity(home, "plant-a")
    paths = (home.tls_key, home.node_key, home.signing_key, home.ledger_key)
    before = [path.read_bytes() for path in paths]
    second = identity.create_identity(home, "plant-a")
    assert [path.read_bytes() for path in paths] == before
    assert first.ledger_key == second.ledger_key and first.signing_key == second.signing_key
    assert len(set(before)) == 4
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_only_public_halves_are_in_the_identity(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    public = identity.create_identity(home, "plant-a")
    assert "PRIVATE" not in repr(public)
    request = x509.load_pem_x509_csr(public.csr_pem.encode())
    assert request.is_signature_valid
    assert request.public_key() == key_files.load_ec_key(home.tls_key).public_key()


def test_a_new_ledger_key_makes_a_new_origin(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    first = identity.create_identity(home, "plant-a")
    home.ledger_key.unlink()
    second = identity.create_identity(home, "plant-a")
    assert first.ledger_origin != second.ledger_origin
    assert first.ledger_origin.startswith("weightgate/plant-a/")


def test_a_damaged_or_other_key_is_named(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    identity.create_identity(home, "plant-a")
    home.tls_key.write_text("garbage")
    with pytest.raises(ConfigError, match=r"tls.pem.*not a PEM"):
        identity.read_public_identity(home, "plant-a")
    signing.save(home.tls_key, signing.generate_key())
    with pytest.raises(ConfigError, match=r"tls.pem.*elliptic"):
        identity.read_public_identity(home, "plant-a")
    home.tls_key.unlink()
    with pytest.raises(ConfigError, match=r"tls.pem.*cannot be read"):
        identity.read_public_identity(home, "plant-a")


def test_the_node_key_is_of_the_curve_that_flower_makes(tmp_path: Path) -> None:
    home = ClientHome(tmp_path)
    identity.create_identity(home, "plant-a")
    assert isinstance(key_files.load_ec_key(home.node_key).curve, ec.SECP384R1)


def test_a_home_is_for_its_user_alone_whatever_the_umask_and_the_folder_before(
    tmp_path: Path,
) -> None:
    home = ClientHome(tmp_path / "home")
    before = os.umask(0)
    try:
        home.root.mkdir()
        home.keys.mkdir()
        identity.create_identity(home, "plant-a")
    finally:
        os.umask(before)
    assert stat.S_IMODE(home.root.stat().st_mode) == stat.S_IMODE(home.keys.stat().st_mode) == 0o700
