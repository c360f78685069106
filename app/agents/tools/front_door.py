"""How an agent reaches the fleet: over HTTP through our own front door, with a token of the person who asked.

So the edge checks the agent's calls exactly as it checks that person's: an agent can do what its user can, no more.
The token is that person's own where it is at hand; a run has left it behind, and is given one for each call.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlencode, urlsplit

import msgspec
import structlog

from app.agents.contract import ToolRefused
from app.agents.front_door import Credentials, FleetAnswer, FrontDoorUnavailable, Identity, Outgoing
from app.infra.http_client.client import FLEET_TIMEOUTS, CallAnswer, CallFailed, CallTimeouts, HttpClient
from app.infra.http_client.egress import EgressRefused
from app.infra.openapi.calls import OperationCall
from app.infra.openapi.news import FleetNews
from app.kernel.errors import Unavailable
from app.kernel.identity import Access, Principal

MAX_ANSWER_BYTES = 1024**2
MAX_CATALOGUE_BYTES = 16 * 1024**2
OPERATIONS = "/api/v1/operations/"
KEY_LIMIT_CHARS = 200

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class FrontDoorAddress:
    """Where our own listener is: set by `FRONT_DOOR_URL`, else by the edge when its first request arrives.

    `root_path` is where another program has mounted us.
    """

    url: str = ""
    root_path: str = ""

    def learn(self, server: tuple[str, int | None] | None, scheme: str) -> None:
        """Take the socket's own address, never a client's Host field; a configured address stays."""
        if self.url or server is None or server[1] is None:
            return
        host = server[0] if ":" not in server[0] else f"[{server[0]}]"
        self.url = f"{scheme}://{host}:{server[1]}{self.root_path}"


class _Listed(msgspec.Struct, frozen=True):
    items: tuple[OperationCall, ...]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What callers of some groups may do, as it was when it was last asked for, and in which edition that was."""

    etag: str = ""
    operations: tuple[OperationCall, ...] = ()
    edition: int | None = None


@dataclass(frozen=True, slots=True)
class HttpFrontDoor:
    """The adapter of `FrontDoor`. `run_tokens` are for callers in whose name a run acts that was shown no token.

    `catalogues` holds one for each set of groups; `news` says which is still true, and else the front door.
    """

    http: HttpClient
    address: FrontDoorAddress
    run_tokens: Credentials
    news: FleetNews = field(default_factory=FleetNews)
    catalogues: dict[frozenset[Access], Catalogue] = field(default_factory=dict)

    async def call(
        self,
        caller: Principal,
        method: str,
        path: str,
        *,
        json: object = None,
        form: Mapping[str, str | Sequence[str]] | None = None,
        query: Mapping[str, str | Sequence[str]] | None = None,
        idempotency_key: str = "",
    ) -> FleetAnswer:
        body, headers = _body_of(json, form)
        headers |= _keyed(idempotency_key)
        answer = await self._send(caller, method, path, body=body, headers=headers, query=query)
        return FleetAnswer(answer.status, answer.body, answer.headers)

    async def call_outside(self, caller: Principal, outgoing: Outgoing, *, idempotency_key: str = "") -> FleetAnswer:
        path = self._own_path(outgoing.url)
        if path is not None:
            return await self.call(
                caller,
                outgoing.method,
                path,
                json=outgoing.json,
                form=outgoing.form,
                query=outgoing.query,
                idempotency_key=idempotency_key,
            )
        body, headers = _body_of(outgoing.json, outgoing.form)
        headers |= {name.lower(): value for name, value in outgoing.headers.items()} | _keyed(idempotency_key)
        try:
            answer = await self.http.call_outside(
                outgoing.method,
                outgoing.url,
                body=body,
                headers={**headers, **await self._introduced(caller, outgoing.identity)},
                query=outgoing.query,
                networks=outgoing.networks,
                timeouts=CallTimeouts(answer_s=outgoing.timeout_s),
                limit_bytes=outgoing.limit_bytes,
            )
        except EgressRefused as error:
            raise ToolRefused(str(error)) from error
        except CallFailed as error:
            log.warning("tool.call_failed", cause=str(error)[:300])
            raise ToolRefused("The service gave no usable answer: it is away, too slow, or says too much.") from error
        return FleetAnswer(answer.status, answer.body, answer.headers)

    def _own_path(self, url: str) -> str | None:
        """Give the path of a URL that is the front door's own."""
        own = self.address.url.rstrip("/")
        return url.removeprefix(own) if own and url.startswith(f"{own}/") else None

    async def _introduced(self, caller: Principal, identity: Identity) -> Mapping[str, str]:
        """Give the headers by which a foreign service learns who asks, where the tool's author wants it to."""
        match identity:
            case "none":
                return {}
            case "id":
                return {"x-user-id": quote(caller.user_id, safe=""), "x-user-role": caller.role}
            case "token":
                return {"authorization": f"Bearer {await self._token(caller)}"}

    async def _token(self, caller: Principal) -> str:
        """Errors: FrontDoorUnavailable."""
        try:
            return caller.credential or await self.run_tokens.token_for(caller)
        except Unavailable as fault:
            raise FrontDoorUnavailable(evidence=fault.evidence) from fault

    async def operations(self, caller: Principal) -> Sequence[OperationCall]:
        """Give what is known to be true still, or ask; what did not change is neither sent nor read again."""
        known = self.catalogues.get(caller.groups, Catalogue())
        edition = self.news.edition
        if edition is not None and known.edition == edition:
            return known.operations
        headers = {"if-none-match": known.etag} if known.etag else {}
        answer = await self._send(caller, "GET", OPERATIONS, headers=headers, limit_bytes=MAX_CATALOGUE_BYTES)
        if answer.status == 304:
            self.catalogues[caller.groups] = replace(known, edition=edition)
            return known.operations
        if answer.status != 200:
            raise FrontDoorUnavailable(evidence={"status": answer.status, "path": OPERATIONS})
        try:
            read = await asyncio.to_thread(msgspec.json.decode, answer.body, type=_Listed)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FrontDoorUnavailable(evidence={"cause": str(error), "path": OPERATIONS}) from error
        self.catalogues[caller.groups] = Catalogue(answer.headers.get("etag", ""), read.items, edition)
        return read.items

    async def _send(
        self,
        caller: Principal,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str],
        query: Mapping[str, str | Sequence[str]] | None = None,
        limit_bytes: int = MAX_ANSWER_BYTES,
    ) -> CallAnswer:
        """Errors: FrontDoorUnavailable."""
        if not self.address.url:
            raise FrontDoorUnavailable("Set FRONT_DOOR_URL to the address agents reach the front door at.")
        if not path.startswith("/") or urlsplit(path).netloc:
            raise FrontDoorUnavailable(f"The path {path!r} is not one of the front door's.")
        token = await self._token(caller)
        sent = {"accept": "application/json", **headers, "authorization": f"Bearer {token}"}
        url = self.address.url.rstrip("/") + quote(path, safe="/%~-._!$&'()*+,;=:@")
        try:
            return await self.http.call(
                method, url, body=body, headers=sent, query=query, timeouts=FLEET_TIMEOUTS, limit_bytes=limit_bytes
            )
        except CallFailed as error:
            raise FrontDoorUnavailable(evidence={"cause": str(error)}) from error


def _body_of(json: object, form: Mapping[str, str | Sequence[str]] | None) -> tuple[bytes | None, dict[str, str]]:
    """Write a body, and the header that says what it is."""
    if json is not None:
        return msgspec.json.encode(json), {"content-type": "application/json"}
    if form is not None:
        return urlencode(form, doseq=True).encode(), {"content-type": "application/x-www-form-urlencoded"}
    return None, {}


def _keyed(key: str) -> dict[str, str]:
    return {"idempotency-key": _key_field(key)} if key else {}


def _key_field(key: str) -> str:
    """Give the key as a header may carry it: visible ASCII, of bounded length."""
    field = quote(key, safe="/#:")
    return field if len(field) <= KEY_LIMIT_CHARS else hashlib.sha256(field.encode()).hexdigest()
