"""Merkle trees of RFC 9162, section 2.1: pure functions over leaf hashes, SHA-256.

``Frontier`` holds the O(log n) subtree roots that determine a growing tree's root, so that an
append does not need the earlier leaves. Proofs are made from the list of all leaf hashes, and
verified with the algorithms of sections 2.1.3.2 and 2.1.4.2.
"""

import hashlib
from collections.abc import Iterator, Sequence

from wg_core.errors import VerificationError

HASH_SIZE = hashlib.sha256().digest_size
PROOF_HASHES_LIMIT = 63  # Most hashes in one proof: trees are below 2^63 leaves

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: ``SHA-256(0x00 || entry)``."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left_hash: bytes, right_hash: bytes) -> bytes:
    """Return the hash of an inner node: ``SHA-256(0x01 || left || right)``."""
    return hashlib.sha256(b"\x01" + left_hash + right_hash).digest()


class Frontier:
    """Growing Merkle tree of ``size`` leaves, stored as the roots of its perfect subtrees."""

    __slots__ = ("_roots", "size")

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def append(self, leaf_hash: bytes) -> None:
        """Add one leaf hash to the tree; costs one node hash on average."""
        self._roots.append(leaf_hash)
        self.size += 1
        full = self.size
        while full % 2 == 0:
            right = self._roots.pop()
            self._roots.append(node_hash(self._roots.pop(), right))
            full //= 2

    def root(self) -> bytes:
        """Return the Merkle root of the tree so far; SHA-256 of no bytes for the empty tree."""
        if not self._roots:
            return EMPTY_ROOT
        result = self._roots[-1]
        for subtree in reversed(self._roots[:-1]):
            result = node_hash(subtree, result)
        return result


def root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the Merkle root over leaf hashes (``MTH`` of RFC 9162, section 2.1.1)."""
    frontier = Frontier()
    for leaf in leaf_hashes:
        frontier.append(leaf)
    return frontier.root()


def inclusion_proof(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the sibling hashes from leaf ``index`` to the root (RFC 9162, section 2.1.3.1)."""
    if not 0 <= index < len(leaf_hashes):
        raise IndexError(f"leaf {index} of a tree of {len(leaf_hashes)}")
    path: list[bytes] = []
    low, high = 0, len(leaf_hashes)
    while high - low > 1:
        middle = low + _left_subtree_size(high - low)
        if index < middle:
            path.append(root(leaf_hashes[middle:high]))
            high = middle
        else:
            path.append(root(leaf_hashes[low:middle]))
            low = middle
    return path[::-1]


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return a proof that a tree extends the one of its first ``old_size`` leaves.

    The proof (RFC 9162, section 2.1.4.1) is empty if ``old_size`` is 0 or the tree's size.
    """
    if not 0 <= old_size <= len(leaf_hashes):
        raise IndexError(f"old size {old_size} of a tree of {len(leaf_hashes)}")
    if old_size in (0, len(leaf_hashes)):
        return []
    path: list[bytes] = []
    low, high = 0, len(leaf_hashes)
    complete = True  # the current subtree is the whole old tree, whose root the verifier knows
    while high != old_size:
        middle = low + _left_subtree_size(high - low)
        if old_size <= middle:
            path.append(root(leaf_hashes[middle:high]))
            high = middle
        else:
            path.append(root(leaf_hashes[low:middle]))
            low = middle
            complete = False
    if not complete:
        path.append(root(leaf_hashes[low:high]))
    return path[::-1]


def verify_inclusion(
    leaf_hash: bytes, index: int, tree_size: int, path: Sequence[bytes], expected_root: bytes
) -> None:
    """Verify a Merkle inclusion proof of one leaf (RFC 9162, section 2.1.3.2).

    Raises:
        VerificationError: The proof does not lead from the leaf to the expected root.
    """
    if not 0 <= index < tree_size:
        raise VerificationError(f"inclusion proof: index {index} outside a tree of {tree_size}")
    result = leaf_hash
    for sibling, is_left in _siblings_to_root(index, tree_size - 1, path, "inclusion proof"):
        result = node_hash(sibling, result) if is_left else node_hash(result, sibling)
    if result != expected_root:
        raise VerificationError(
            f"inclusion proof: entry {index} leads to root {result.hex()}, "
            f"expected {expected_root.hex()}"
        )


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, path: Sequence[bytes]
) -> None:
    """Verify a Merkle consistency proof between two tree sizes (RFC 9162, section 2.1.4.2).

    Raises:
        VerificationError: The proof does not show that the old tree is a prefix of the new one.
    """
    if not 0 <= old_size <= new_size:
        raise VerificationError(f"consistency proof: old size {old_size}, new size {new_size}")
    if old_size in (0, new_size):
        if path:
            raise VerificationError("consistency proof: must be empty for these sizes")
        if old_root != (EMPTY_ROOT if old_size == 0 else new_root):
            raise VerificationError(f"consistency proof: two roots for size {old_size}")
        return
    if not path:
        raise VerificationError("consistency proof: is missing")
    steps = list(path)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)
    position, last = old_size - 1, new_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    old_result = new_result = steps[0]
    for sibling, is_left in _siblings_to_root(position, last, steps[1:], "consistency proof"):
        if is_left:
            old_result = node_hash(sibling, old_result)
        new_result = node_hash(sibling, new_result) if is_left else node_hash(new_result, sibling)
    if old_result != old_root or new_result != new_root:
        raise VerificationError(
            f"consistency proof: the tree of {old_size} is not a prefix of the tree of {new_size}"
        )


def _siblings_to_root(
    node_index: int, last_index: int, path: Sequence[bytes], proof_name: str
) -> Iterator[tuple[bytes, bool]]:
    """Yield each sibling hash of a path from a node to the root, with True for a left sibling.

    Both numbers are indices in the node's layer: of the node, and of the layer's last node.

    Raises:
        VerificationError: The path has more or fewer hashes than there are layers to the root.
    """
    for sibling in path:
        if last_index == 0:
            raise VerificationError(f"{proof_name}: too long")
        is_left = bool(node_index & 1) or node_index == last_index
        yield sibling, is_left
        if is_left:
            while node_index and not node_index & 1:
                node_index >>= 1
                last_index >>= 1
        node_index >>= 1
        last_index >>= 1
    if last_index != 0:
        raise VerificationError(f"{proof_name}: too short")


def _left_subtree_size(size: int) -> int:
    """Return the largest power of two below ``size`` (which is at least 2)."""
    return 1 << (size - 1).bit_length() - 1
