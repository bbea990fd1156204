"""RFC 9162 trees and proofs against a slow reference, published roots, and mutations."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wg_core.errors import VerificationError
from wg_core.ledger import merkle

# Leaves and roots of the Certificate Transparency reference log (RFC 6962 test data).
LEAVES = [
    bytes.fromhex(x)
    for x in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(index).encode()) for index in range(count)]


def slow_root(hashes: list[bytes]) -> bytes:
    """MTH of RFC 9162, section 2.1.1, word for word."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = slow_split(len(hashes))
    return hashlib.sha256(b"\1" + slow_root(hashes[:k]) + slow_root(hashes[k:])).digest()


def slow_path(m: int, hashes: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.3.1."""
    if len(hashes) == 1:
        return []
    k = slow_split(len(hashes))
    if m < k:
        return [*slow_path(m, hashes[:k]), slow_root(hashes[k:])]
    return [*slow_path(m - k, hashes[k:]), slow_root(hashes[:k])]


def slow_subproof(m: int, hashes: list[bytes], known: bool) -> list[bytes]:
    """SUBPROOF of section 2.1.4.1."""
    if m == len(hashes):
        return [] if known else [slow_root(hashes)]
    k = slow_split(len(hashes))
    if m <= k:
        return [*slow_subproof(m, hashes[:k], known), slow_root(hashes[k:])]
    return [*slow_subproof(m - k, hashes[k:], False), slow_root(hashes[:k])]


def slow_split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def test_roots_are_those_of_certificate_transparency() -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    for size, expected in enumerate(ROOTS, 1):
        assert merkle.root(hashes[:size]).hex() == expected


@given(st.integers(0, 70))
def test_root_is_that_of_the_reference(count: int) -> None:
    assert merkle.root(leaves(count)) == slow_root(leaves(count))


def test_every_inclusion_proof_is_the_reference_and_holds() -> None:
    for size in range(1, 34):
        hashes = leaves(size)
        for index in range(size):
            path = merkle.inclusion_proof(hashes, index)
            assert path == slow_path(index, hashes)
            merkle.verify_inclusion(hashes[index], index, size, path, merkle.root(hashes))


def test_every_consistency_proof_is_the_reference_and_holds() -> None:
    for size in range(1, 34):
        hashes = leaves(size)
        for old in range(size + 1):
            path = merkle.consistency_proof(hashes, old)
            assert path == (slow_subproof(old, hashes, True) if old else [])
            merkle.verify_consistency(
                old, merkle.root(hashes[:old]), size, merkle.root(hashes), path
            )


@given(st.integers(2, 40), st.data())
def test_a_changed_inclusion_proof_fails(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(hashes, index)
    root = merkle.root(hashes)
    for bad in mutations(path):
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(hashes[index], index, size, bad, root)
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, path, root)
    with pytest.raises(VerificationError):
        merkle.verify_inclusion(hashes[index], size, size, path, root)


@given(st.integers(2, 40), st.data())
def test_a_changed_consistency_proof_fails(size: int, data: st.DataObject) -> None:
    hashes = leaves(size)
    old = data.draw(st.integers(1, size - 1))
    roots = merkle.root(hashes[:old]), merkle.root(hashes)
    path = merkle.consistency_proof(hashes, old)
    for bad in mutations(path):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(old, roots[0], size, roots[1], bad)
    for wrong in ((roots[1], roots[1]), (roots[0], roots[0])):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(old, wrong[0], size, wrong[1], path)


def test_equal_sizes_need_equal_roots_and_no_proof() -> None:
    root = merkle.root(leaves(3))
    merkle.verify_consistency(3, root, 3, root, [])
    for old, new, path in ((root, root[::-1], []), (root, root, [root])):
        with pytest.raises(VerificationError):
            merkle.verify_consistency(3, old, 3, new, path)
    with pytest.raises(VerificationError):
        merkle.verify_consistency(0, root, 3, root, [])
    with pytest.raises(VerificationError):
        merkle.verify_consistency(4, root, 3, root, [])


@pytest.mark.parametrize(("size", "index"), [(0, 0), (3, 3), (3, -1)])
def test_there_is_no_proof_of_an_absent_leaf(size: int, index: int) -> None:
    with pytest.raises(IndexError):
        merkle.inclusion_proof(leaves(size), index)


@pytest.mark.parametrize("old", [-1, 4])
def test_there_is_no_proof_from_an_absent_size(old: int) -> None:
    with pytest.raises(IndexError):
        merkle.consistency_proof(leaves(3), old)


def mutations(path: list[bytes]) -> list[list[bytes]]:
    """Drop, repeat, swap, and flip a bit of each byte of each hash."""
    result = [path[:-1], path[1:], [*path, path[-1]], [path[0], *path]] if path else []
    for place, digest in enumerate(path):
        for byte in range(len(digest)):
            flipped = bytearray(digest)
            flipped[byte] ^= 1
            result.append([*path[:place], bytes(flipped), *path[place + 1 :]])
    return [bad for bad in result if bad != path]
