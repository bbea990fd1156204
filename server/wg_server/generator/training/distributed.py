"""Processes that train together: who they are, what they tell each other, and how they end.

Each process (a *rank*) takes its share of a step's episodes; gradients are added up and every rank
makes the same step. ``torchrun`` starts them and tells each its place in the environment. Sums go
through gloo on CPUs and through NCCL on graphics cards, all else through gloo on CPUs.

Neither of them encrypts or authenticates: whoever reaches their ports can spoil a training. Ranks
of one machine therefore talk over loopback; between machines the network must be trusted.

A rank that is gone closes its connections, and the others end with an error at the next sum. One
that hangs is given up after a while. Nothing is repaired here: whoever starts the training again
has the checkpoint.

Li et al., *PyTorch Distributed: Experiences on Accelerating Data Parallel Training*, VLDB 2020.
"""

import contextlib
import hashlib
import ipaddress
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from wg_core.errors import ConfigError, PeerError

SECONDS = 300.0  # How long a rank waits for the others at a step
_LONGER = 12  # Times as long where the first rank works alone: validation, model card
_LOOPBACK = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")


@dataclass(frozen=True, slots=True, kw_only=True)
class RankInfo:
    """A process's place among those that train together, as its starter gave it.

    Attributes:
        rank: Number among all.
        world: Number of all.
        local_rank: Number among those of this machine.
        local_world: Number of those of this machine.
        host: Where ranks meet.
        port: Of the same.
        hosted: Whether the starter keeps the meeting place; else rank 0 does.
        attempt: Which start of the training by this starter it is.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0
    local_world: int = 1
    host: str = ""
    port: int = 0
    hosted: bool = False
    attempt: int = 0

    def __post_init__(self) -> None:
        for name, mine, of in (
            ("RANK", self.rank, self.world),
            ("LOCAL_RANK", self.local_rank, self.local_world),
        ):
            if not 0 <= mine < of:
                raise ConfigError(f"{name}: {mine}, expected 0 to {of - 1}")


def read_rank_info(environment: Mapping[str, str]) -> RankInfo:
    """The rank that ``torchrun`` describes; one process alone if nothing is said.

    Raises:
        ConfigError: A variable is missing or no number; the message names it.
    """
    if "RANK" not in environment and "WORLD_SIZE" not in environment:
        return RankInfo()
    world = _number(environment, "WORLD_SIZE", 1, 1 << 16)
    if world == 1:
        return RankInfo()
    host = environment.get("MASTER_ADDR", "")
    if not host:
        raise ConfigError("MASTER_ADDR: missing; start several processes with torchrun")
    return RankInfo(
        rank=_number(environment, "RANK", 0, world - 1),
        world=world,
        local_rank=_number(environment, "LOCAL_RANK", 0, world - 1),
        local_world=_number(environment, "LOCAL_WORLD_SIZE", 1, world),
        host=host,
        port=_number(environment, "MASTER_PORT", 1, 65535),
        hosted=environment.get("TORCHELASTIC_USE_AGENT_STORE", "False") == "True",
        attempt=_number(
            {"TORCHELASTIC_RESTART_COUNT": "0", **environment},
            "TORCHELASTIC_RESTART_COUNT",
            0,
            1 << 16,
        ),
    )


def _number(environment: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = environment.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) < 7 and low <= int(text) <= high):
        raise ConfigError(
            f"{name}: {text or 'missing'}, expected {low} to {high};"
            " start several processes with torchrun"
        )
    return int(text)


@dataclass(frozen=True, slots=True)
class ProcessGroup:
    """All processes of a training, seen from one of them.

    Attributes:
        rank: Its number.
        world: How many there are.
        patient: The group in which to wait for the first rank's longer work; None when alone.
    """

    rank: int = 0
    world: int = 1
    patient: Any = None

    @property
    def first(self) -> bool:
        """Whether this is the one that validates, writes and speaks."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Which of ``count`` episodes are this rank's: every ``world``-th."""
        return range(self.rank, count, self.world)

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their sum over all ranks, the same bits on each.

        A parameter that has a gradient on no rank keeps none.

        Raises:
            PeerError: A rank is gone or hangs.
        """
        if self.world == 1:
            return
        there = parameters[0].new_tensor([float(p.grad is not None) for p in parameters])
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([there, *(grad.flatten() for grad in grads)])
        with self._watched():
            dist.all_reduce(flat)
        counts, place = flat[: len(parameters)].tolist(), len(parameters)
        for parameter, count in zip(parameters, counts, strict=True):
            found = flat[place : place + parameter.numel()].view_as(parameter)
            parameter.grad = found if count else None
            place += parameter.numel()

    def from_first(self, data: bytes) -> bytes:
        """The first rank's bytes, on every rank; it may take its time.

        Raises:
            PeerError: A rank is gone or hangs.
        """
        if self.world == 1:
            return data
        with self._watched():
            size = torch.tensor([len(data)])
            dist.broadcast(size, 0, group=self.patient)
            body = torch.empty(int(size), dtype=torch.uint8)
            if self.first and data:
                body = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            if len(body):
                dist.broadcast(body, 0, group=self.patient)
        return body.numpy().tobytes()

    def document_of_first(self, document: dict[str, Any]) -> dict[str, Any]:
        """The first rank's JSON document, on every rank.

        Raises:
            PeerError: A rank is gone or hangs.
        """
        if self.world == 1:
            return document
        found: dict[str, Any] = json.loads(self.from_first(json.dumps(document).encode()))
        return found

    def check_same(self, what: str, value: str) -> None:
        """Find out whether all ranks have the same of something.

        Raises:
            ConfigError: One has another; raised on every rank.
            PeerError: A rank is gone or hangs.
        """
        if self.world == 1:
            return
        mine = torch.frombuffer(
            bytearray(hashlib.sha256(value.encode()).digest()), dtype=torch.uint8
        )
        all_of: list[Tensor] = [torch.empty_like(mine) for _ in range(self.world)]
        with self._watched():
            dist.all_gather(all_of, mine, group=self.patient)
        other = [rank for rank, found in enumerate(all_of) if not torch.equal(found, all_of[0])]
        if other:
            raise ConfigError(f"{what}: not the same at rank {other[0]} as at rank 0")

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        # torch gives a bare RuntimeError for a lost peer.
        try:
            yield
        except RuntimeError as error:
            raise PeerError(
                f"rank {self.rank} of {self.world}: another process of this training is gone or"
                f" hangs: {str(error).splitlines()[0]}"
            ) from error


ALONE = ProcessGroup()


@contextlib.contextmanager
def joined(rank_info: RankInfo, device: str, seconds: float = SECONDS) -> Iterator[ProcessGroup]:
    """Meet the other ranks, for the length of a block.

    Args:
        device: ``cpu`` or ``cuda``: where gradients are.
        seconds: How long to wait for the others, here and at each step.

    Raises:
        ConfigError: This torch cannot do it.
        PeerError: The others do not come.
    """
    if rank_info.world == 1:
        yield ALONE
        return
    if not (dist.is_available() and dist.is_gloo_available()):
        raise ConfigError("several processes: this torch has no gloo")
    if device == "cuda" and not dist.is_nccl_available():
        raise ConfigError("several processes on graphics cards: this torch has no NCCL")
    alone = ProcessGroup(rank_info.rank, rank_info.world)
    # NCCL would otherwise end the process by itself, without a word of ours.
    ours = {"TORCH_NCCL_BLOCKING_WAIT": "1"} if device == "cuda" else {}
    with environment(_interfaces(rank_info) | ours):
        with alone._watched():
            group = _join(rank_info, device, timedelta(seconds=seconds))
        yield ProcessGroup(rank_info.rank, rank_info.world, group)
        # Not after an error: NCCL would wait for a rank that is gone.
        dist.destroy_process_group()


def _join(rank_info: RankInfo, device: str, wait: timedelta) -> Any:
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if device == "cuda" else "cpu:gloo",
        store=_meet(rank_info, wait),
        rank=rank_info.rank,
        world_size=rank_info.world,
        timeout=wait,
    )
    return dist.new_group(backend="gloo", timeout=_LONGER * wait)


def _meet(rank_info: RankInfo, wait: timedelta) -> Any:
    """Where ranks exchange addresses. Rank 0's listens on the one address given, not on all."""
    serves = rank_info.rank == 0 and not rank_info.hosted
    try:
        listener = _listen(rank_info.host, rank_info.port) if serves else None
    except OSError as error:
        raise PeerError(
            f"rank 0 cannot listen on {rank_info.host}:{rank_info.port}: {error}"
        ) from error
    # Both are public, but torch's types do not say so.
    store = dist.TCPStore(  # type: ignore[attr-defined]
        rank_info.host,
        rank_info.port,
        rank_info.world,
        serves,
        wait,
        wait_for_workers=False,
        master_listen_fd=listener,
    )
    return dist.PrefixStore(f"weightgate/{rank_info.attempt}", store)  # type: ignore[attr-defined]


def _listen(host: str, port: int) -> int:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return socket.create_server(address[:2], family=family).detach()


def _interfaces(rank_info: RankInfo) -> dict[str, str]:
    """Loopback for ranks that are all on this machine."""
    if rank_info.local_world != rank_info.world and not _is_loopback(rank_info.host):
        return {}
    names = [name for _, name in socket.if_nameindex() if name in ("lo", "lo0")]
    return dict.fromkeys(_LOOPBACK, names[0]) if names else {}


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


@contextlib.contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables that are not set, for the length of a block. The operator's own values stay."""
    mine = {name: value for name, value in values.items() if name not in os.environ}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name in mine:
            os.environ.pop(name, None)
