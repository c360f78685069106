"""Which addresses count as public."""

import pytest

from app.infra.http_client.egress import EgressRefused, is_public, public_address


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.2.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
    ],
)
def test_an_address_that_not_everybody_may_reach_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_any_other_is(address: str) -> None:
    assert is_public(address)


async def test_a_literal_public_address_is_given_and_a_private_one_refused() -> None:
    assert await public_address("1.1.1.1", 443) == "1.1.1.1"
    with pytest.raises(EgressRefused, match="localhost is at an address that is not public"):
        await public_address("localhost", 80)
