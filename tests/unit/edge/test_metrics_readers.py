import ipaddress

import pytest

from app.edge.faults import RoleNotAllowed, TokenMissing
from app.edge.metrics_readers import MetricsReaders
from tests.builders import a_principal

NEAR = MetricsReaders((ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fe80::/10")))


@pytest.mark.parametrize("client", ["10.1.2.3", "::ffff:10.1.2.3", "fe80::1%eth0"])
def test_the_networks_need_no_token(client: str) -> None:
    NEAR.admit(client, None)


@pytest.mark.parametrize("client", ["", "11.1.2.3", "unknown", "::1"], ids=["Unix socket", "far", "no address", "IPv6"])
def test_whoever_is_elsewhere_needs_one(client: str) -> None:
    with pytest.raises(TokenMissing):
        NEAR.admit(client, None)


def test_of_those_with_a_token_staff_may() -> None:
    NEAR.admit("", a_principal(role="manager"))

    with pytest.raises(RoleNotAllowed):
        NEAR.admit("", a_principal(role="user"))
