"""Who comes in where the assistant is a part of another program: the stage before the edge. It admits or refuses.

It never decides what a caller may do. Whom it recognises is given a token of our own, and the edge, which is behind it
in any case, checks that like every other. A caller that brings a token is the edge's matter alone.

Facts
- A browser sends requests to this machine, and a host's cookies, for any page it shows. `Sec-Fetch-Site` (Fetch
  Metadata) or `Origin` (RFC 6454 §7) say for which; a client that sends neither is no browser of the last years.
- A name of somebody else's may point at 127.0.0.1 (DNS rebinding), and its pages are then of the same origin as we are.
  Only the `Host` field tells.
- A proxy on this machine makes everybody's requests come from this machine; proxies say for whom they ask.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from app.edge.asgi_client import Scope
from app.edge.faults import OriginNotAllowed
from app.edge.headers import SUBPROTOCOLS, tokens_in_subprotocols
from app.edge.record import SAFE_METHODS
from app.kernel.errors import Forbidden
from app.surfaces.embedding.tokens import Caller, OwnTokens

type Headers = list[tuple[bytes, bytes]]
type Authenticate = Callable[[Scope], Awaitable[Caller | None]]
"""Asked by whom a request is; it is given the host's own scope. None: the host knows nobody; it may show us a token."""

LOCAL_USER = Caller("local")
_MEND = "give it `authenticate`, or set JWT_PUBLIC_KEY or JWT_JWKS_URL, to serve others"
_BY_PROXY = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via")


class CallerNotLocal(Forbidden):
    type = "caller-not-local"
    title = "This assistant serves nobody but the user of its machine"


class Entrance:
    """Where tokens are shown: all of it is left to the edge."""

    async def admit(self, scope: Scope) -> Headers:
        """Give the fields the edge is to see. Errors: CallerNotLocal, OriginNotAllowed, or the host's."""
        return list(scope["headers"])


@dataclass(frozen=True, slots=True)
class HostEntrance(Entrance):
    """Where the host says who calls."""

    authenticate: Authenticate
    tokens: OwnTokens
    origins: frozenset[str] = frozenset()

    async def admit(self, scope: Scope) -> Headers:
        caller = await self.authenticate(scope)
        if caller is None:
            return list(scope["headers"])
        _refuse_other_sites(scope, self.origins)
        return _with_token(scope, self.tokens.token_for(caller))


@dataclass(frozen=True, slots=True)
class LocalEntrance(Entrance):
    """Where nobody says who calls: it is the one user of this machine, or is refused."""

    tokens: OwnTokens
    origins: frozenset[str] = frozenset()

    async def admit(self, scope: Scope) -> Headers:
        _refuse_elsewhere(scope)
        _refuse_other_sites(scope, self.origins)
        has_token = _all(scope, b"authorization") or tokens_in_subprotocols(
            [(SUBPROTOCOLS, value) for value in _all(scope, SUBPROTOCOLS)]
        )
        return list(scope["headers"]) if has_token else _with_token(scope, self.tokens.token_for(LOCAL_USER))


def _with_token(scope: Scope, token: str) -> Headers:
    others = [(name, value) for name, value in scope["headers"] if name.lower() != b"authorization"]
    return [*others, (b"authorization", b"Bearer " + token.encode())]


def _refuse_elsewhere(scope: Scope) -> None:
    """Errors: CallerNotLocal."""
    peer = scope.get("client")
    if not peer or not _is_loopback(peer[0]):
        raise CallerNotLocal(f"Call it from the machine it runs on, or {_MEND}.")
    if named := [name.decode() for name in _BY_PROXY if _all(scope, name)]:
        raise CallerNotLocal(f"A proxy asks for somebody else ({named[0]}): call it directly, or {_MEND}.")
    hosts = _all(scope, b"host")
    if len(hosts) != 1 or not _is_loopback(urlsplit(f"//{hosts[0].decode('latin-1')}").hostname or ""):
        raise CallerNotLocal(f"Call it as localhost or 127.0.0.1, or {_MEND}.")


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):  # RFC 6761 §6.3: never another machine
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _refuse_other_sites(scope: Scope, origins: frozenset[str]) -> None:
    """Refuse what another site's page asks for, where it could change something. Errors: OriginNotAllowed."""
    if scope["type"] != "websocket" and scope["method"].encode() in SAFE_METHODS:
        return
    given, sites = _texts(scope, b"origin"), _texts(scope, b"sec-fetch-site")
    if len(given) == 1 and given[0] in origins:
        return
    is_ours = sites in (["same-origin"], ["none"]) if sites else not given or given == [_own_origin(scope)]
    if not is_ours:
        raise OriginNotAllowed("This must come from the same site, or from an origin in CORS_ORIGINS.")


def _own_origin(scope: Scope) -> str:
    scheme = scope.get("scheme", "http").replace("ws", "http")
    return f"{scheme}://{','.join(_texts(scope, b'host'))}"


def _texts(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").strip() for value in _all(scope, name)]


def _all(scope: Scope, name: bytes) -> list[bytes]:
    fields: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [bytes(value) for key, value in fields if bytes(key).lower() == name]
