"""How often somebody may try, and that one who tries too often locks out nobody else."""

from __future__ import annotations

from wg_server.fleet.sliding_window_limit import SlidingWindowLimit, client_network


def test_a_key_is_let_in_as_often_as_it_may_and_again_after_a_minute() -> None:
    current_time = 0.0
    tries = SlidingWindowLimit(3, 10, clock=lambda: current_time)
    assert [tries.count_try("a") for _ in range(5)] == [True] * 3 + [False] * 2
    assert tries.count_try("b")
    current_time = 60.0
    assert tries.count_try("a")


def test_the_memory_of_keys_is_bounded() -> None:
    tries = SlidingWindowLimit(1, 4, clock=lambda: 0.0)
    for number in range(100):
        assert tries.count_try(str(number))
    assert len(tries._seen) == 4


def test_a_host_with_many_ipv6_addresses_is_one_host() -> None:
    assert (
        client_network("2001:db8::1")
        == client_network("2001:db8::ffff:1")
        != client_network("2001:db9::1")
    )
    assert client_network("192.0.2.1") != client_network("192.0.2.2")
    assert len(client_network("x" * 1000)) == 64
