"""Which addresses calls may go to whose host is not the operator's own word for a private one.

Facts
- A name may stand for a private address, and for another one the next time it is asked: so a name is resolved once,
  every address of it is looked at, and the connection goes to one that was.
- ::ffff:10.0.0.1, 64:ff9b::a00:1 and 2002:a00:1:: are 10.0.0.1 in other clothes (RFC 4291 §2.5.5.2, 6052, 3056).
"""

import asyncio
import ipaddress
import socket

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
RESOLVE_S = 5.0


class EgressRefused(OSError):
    """The host is, or stands for, an address that is not public."""


def is_public(address: str) -> bool:
    """Tell of an address as `getaddrinfo` writes it whether anybody may reach it."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(parsed, ipaddress.IPv6Address):
        inner = parsed.ipv4_mapped or parsed.sixtofour
        if parsed in _NAT64:
            inner = ipaddress.IPv4Address(int(parsed) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not parsed.is_multicast


async def public_address(host: str, port: int) -> str:
    """Resolve a host, and give one of its addresses.

    Errors: EgressRefused, where one of them is not public; OSError; TimeoutError.
    """
    async with asyncio.timeout(RESOLVE_S):
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(sockaddr[0]) for *_, sockaddr in found]
    if not addresses or not all(is_public(address) for address in addresses):
        raise EgressRefused(f"{host} is at an address that is not public")
    return addresses[0]
