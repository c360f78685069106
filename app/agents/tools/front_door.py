"""How an agent reaches the fleet: over HTTP through our own front door, with a token of the person who asked.

So the edge checks the agent's calls exactly as it checks that person's: an agent can do what its user can, no more.
The token is that person's own where it is at hand; a run has left it behind, and is given one for each call.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import msgspec

from app.agents.contract import Credentials, FleetAnswer, FrontDoorUnavailable
from app.infra.http_client.client import FLEET_TIMEOUTS, CallFailed, HttpClient
from app.kernel.errors import Unavailable
from app.kernel.identity import Principal

MAX_ANSWER_BYTES = 1024**2
KEY_LIMIT_CHARS = 200


@dataclass(slots=True)
class FrontDoorAddress:
    """Where our own listener is: set by `FRONT_DOOR_URL`, else by the edge when its first request arrives."""

    url: str = ""

    def learn(self, server: tuple[str, int | None] | None, scheme: str) -> None:
        """Take the socket's own address, never a client's Host field; a configured address stays."""
        if self.url or server is None or server[1] is None:
            return
        host = server[0] if ":" not in server[0] else f"[{server[0]}]"
        self.url = f"{scheme}://{host}:{server[1]}"


@dataclass(frozen=True, slots=True)
class HttpFrontDoor:
    """The adapter of `FrontDoor`. `run_tokens` are for callers in whose name a run acts that was shown no token."""

    http: HttpClient
    address: FrontDoorAddress
    run_tokens: Credentials

    async def call(
        self,
        caller: Principal,
        method: str,
        path: str,
        *,
        json: object = None,
        query: Mapping[str, str] | None = None,
        idempotency_key: str = "",
    ) -> FleetAnswer:
        if not self.address.url:
            raise FrontDoorUnavailable("Set FRONT_DOOR_URL to the address agents reach the front door at.")
        if not path.startswith("/") or urlsplit(path).netloc:
            raise FrontDoorUnavailable(f"The path {path!r} is not one of the front door's.")
        try:
            token = caller.credential or await self.run_tokens.token_for(caller)
        except Unavailable as fault:
            raise FrontDoorUnavailable(evidence=fault.evidence) from fault
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        if idempotency_key:
            headers["idempotency-key"] = _key_field(idempotency_key)
        body = None
        if json is not None:
            body = msgspec.json.encode(json)
            headers["content-type"] = "application/json"
        url = self.address.url.rstrip("/") + quote(path, safe="/%~-._!$&'()*+,;=:@")
        try:
            answer = await self.http.call(
                method,
                url,
                body=body,
                headers=headers,
                query=query,
                timeouts=FLEET_TIMEOUTS,
                limit_bytes=MAX_ANSWER_BYTES,
            )
        except CallFailed as error:
            raise FrontDoorUnavailable(evidence={"cause": str(error)}) from error
        return FleetAnswer(answer.status, answer.body, answer.headers)


def _key_field(key: str) -> str:
    """Give the key as a header may carry it: visible ASCII, of bounded length."""
    field = quote(key, safe="/#:")
    return field if len(field) <= KEY_LIMIT_CHARS else hashlib.sha256(field.encode()).hexdigest()
