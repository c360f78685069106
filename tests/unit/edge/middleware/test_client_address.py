import ipaddress

import pytest

from app.edge.middleware import client_address
from app.edge.middleware.client_address import ResolveClient
from app.edge.record import Record
from tests.unit.edge.parts import a_record

TRUSTED = [ipaddress.ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8", "::1/128", "fd00::/8")]


def resolved(peer: str, *forwarded: str) -> Record:
    record = a_record("GET", "/", *(("X-Forwarded-For", value) for value in forwarded), peer=peer)
    ResolveClient(TRUSTED)(record)
    return record


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("203.0.113.7", [], "203.0.113.7"),
        ("203.0.113.7", ["1.1.1.1"], "203.0.113.7"),
        ("203.0.113.7", ["127.0.0.1"], "203.0.113.7"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["203.0.113.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7:443"], "10.0.0.1"),
        ("10.0.0.1", ["unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", [" 203.0.113.7 ,"], "10.0.0.1"),
        ("10.0.0.1", ["\xff\xfe"], "10.0.0.1"),
        ("::1", ["2001:db8::1"], "2001:db8::1"),
        ("fd00::1%eth0", ["2001:db8::1"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::ffff:203.0.113.7", ["1.1.1.1"], "::ffff:203.0.113.7"),
        ("", ["203.0.113.7"], "203.0.113.7"),
        ("", [], ""),
        ("testclient", ["203.0.113.7"], "testclient"),
    ],
)
def test_the_client_is_the_nearest_address_that_is_not_ours(peer: str, forwarded: list[str], client: str) -> None:
    assert resolved(peer, *forwarded).client == client


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("10.255.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", True),
        ("11.0.0.1", False),
        ("fe80::1", False),
        ("::2", False),
        ("localhost", False),
        ("127.0.0.1.evil", False),
        ("0x7f000001", False),
        ("127.1", False),
    ],
)
def test_a_peer_is_trusted_by_its_network(peer: str, *, is_trusted: bool) -> None:
    assert resolved(peer).is_peer_trusted is is_trusted


def test_no_network_trusts_nobody_but_this_host() -> None:
    stage = ResolveClient(())
    records = [a_record(peer=peer) for peer in ("127.0.0.1", "::1", "")]

    for record in records:
        stage(record)

    assert [record.is_peer_trusted for record in records] == [False, False, True]


def test_memory_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_address, "MAX_REMEMBERED", 8)
    stage = ResolveClient(TRUSTED)

    for number in range(100):
        stage(a_record(peer=f"203.0.113.{number}"))

    assert len(stage._seen) <= 8
