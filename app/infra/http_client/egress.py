"""Where a call out may go: never to an address behind our own walls, whatever a name says it is.

Facts
- A name is resolved once and the connection goes to the address that was checked: who owns a name may change what it
  says between two questions (DNS rebinding).
- An IPv6 address may hold an IPv4 one: mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052 §2.1), 6to4 (RFC 3056 §2). It is
  judged by that one. Teredo (RFC 4380) and IPv4-compatible ones (RFC 4291 §2.5.5.1) are refused.
- Azure's and Oracle's metadata services stand at addresses that look public.
Rule: what is not known to be public is refused; `networks` a tool's author names are the only exceptions.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

type Address = IPv4Address | IPv6Address
type Network = IPv4Network | IPv6Network

RESOLVE_S = 5.0

_NAT64 = ip_network("64:ff9b::/96")
_SIX_TO_FOUR = ip_network("2002::/16")
_NEVER = tuple(
    ip_network(text)
    for text in (
        "168.63.129.16/32",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b:1::/48",
        "2001::/32",
        "::/96",
        "fec0::/10",
    )
)


class EgressRefused(OSError):
    """The call would go where it may not; the message names the host and no address."""


class HostUnknown(EgressRefused):
    """Nobody could say where the host is; a while later somebody may."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a guarded request goes: `url` holds the checked address, `host` what it was asked under."""

    url: str
    host: str
    authority: str


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """Errors: ValueError."""
    return tuple(ip_network(text) for text in texts)


def is_reachable(address: Address, *, networks: Sequence[Network] = ()) -> bool:
    """Tell whether a tool may call this address."""
    inner = _inner(address)
    if any(one.version == network.version and one in network for one in {address, inner} for network in networks):
        return True
    if any(inner.version == network.version and inner in network for network in _NEVER):
        return False
    return inner.is_global and not (inner.is_multicast or inner.is_reserved or inner.is_unspecified)


def _inner(address: Address) -> Address:
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address((int(address) >> 80) & 0xFFFF_FFFF)
    return address


async def public_address(host: str, port: int, *, networks: Sequence[Network] = ()) -> str:
    """Resolve a host, once, and give an address of it that may be called.

    Errors: EgressRefused, also where one address of several may not be called: a name that stands for both is a trap.
    """
    found = await _resolve(host, port)
    if not all(is_reachable(address, networks=networks) for address in found):
        raise EgressRefused(f"{host} is at an address that is not public")
    return str(found[0])


async def aim(url: str, *, networks: Sequence[Network] = ()) -> Target:
    """Aim at an address that may be called. Errors: EgressRefused."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise EgressRefused("The address of the service cannot be read.") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise EgressRefused("The address of the service is not one that can be called.")
    address = await public_address(parts.hostname, port, networks=networks)
    host = f"[{address}]" if ":" in address else address
    return Target(parts._replace(netloc=f"{host}:{port}").geturl(), parts.hostname, parts.netloc)


async def _resolve(host: str, port: int) -> Sequence[Address]:
    """Give at least one address. Errors: HostUnknown."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(RESOLVE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise HostUnknown(f"Nobody knows where {host} is.") from error
    if not found:
        raise HostUnknown(f"Nobody knows where {host} is.")
    return [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
