"""Who may read what was measured."""

import ipaddress
from dataclasses import dataclass

from app.edge.faults import RoleNotAllowed, TokenMissing
from app.edge.middleware.client_address import Network
from app.kernel.identity import Principal


@dataclass(frozen=True, slots=True)
class MetricsReaders:
    """Callers from these networks, and STAFF from anywhere."""

    networks: tuple[Network, ...] = ()

    def admit(self, client: str, principal: object) -> None:
        """Errors: TokenMissing, RoleNotAllowed."""
        if self._is_near(client):
            return
        if not isinstance(principal, Principal):
            raise TokenMissing("Send the token of a member of STAFF, or ask from one of METRICS_NETWORKS.")
        if not principal.is_staff:
            raise RoleNotAllowed("This door is for STAFF.")

    def _is_near(self, client: str) -> bool:
        try:
            address = ipaddress.ip_address(client.partition("%")[0])
        except ValueError:
            return False  # of a Unix socket: whoever can open it is nobody in particular
        plain = getattr(address, "ipv4_mapped", None) or address
        return any(plain in network for network in self.networks)
