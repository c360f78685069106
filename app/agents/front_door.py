"""The fleet as an agent sees it: what a tool may send through the front door, elsewhere, and what comes back.

`tools/front_door.py` is the adapter. Knows no agent and no turn.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from app.infra.http_client.egress import Network
from app.infra.openapi.calls import OperationCall
from app.kernel.errors import Unavailable
from app.kernel.identity import Principal

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 §9.2.1
OUTSIDE_TIMEOUT_S = 60.0


class FrontDoorUnavailable(Unavailable):
    type = "front-door-unavailable"
    title = "The front door did not answer the agent"


@dataclass(frozen=True, slots=True)
class FleetAnswer:
    """What an upstream said to a tool; `body` is bounded, `json()` raises ValueError when it is no JSON."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    # Any: what a service answers has no type here; whoever asks knows its shape.
    def json(self) -> Any:
        return json.loads(self.body)


type Identity = Literal["none", "id", "token"]
"""What a foreign service learns of the caller: nothing, `X-User-Id` and `X-User-Role`, or his token, to act with."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to a service the front door does not lead to. `networks` are private ones it may be on."""

    method: str
    url: str
    json: object = None
    form: Mapping[str, str | Sequence[str]] | None = None
    query: Mapping[str, str | Sequence[str]] | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    identity: Identity = "none"
    networks: Sequence[Network] = ()
    timeout_s: float = OUTSIDE_TIMEOUT_S
    limit_bytes: int = 1024 * 1024


class FrontDoor(Protocol):
    """The fleet as an agent sees it: through the front door, under the caller's own token and roles."""

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
        """Send one request as the caller; 4xx and 5xx answers are returned, not raised.

        Shapes: path starts with "/", as a client of the front door would write it; the key, if any, goes with it; the
        body is `json` or `form`, or there is none.
        Errors: FrontDoorUnavailable when no answer comes in time.
        """
        ...

    async def call_outside(self, caller: Principal, outgoing: Outgoing, *, idempotency_key: str = "") -> FleetAnswer:
        """Send one request to a service elsewhere; no redirect is followed, no private address is called.

        What is addressed to the front door after all goes through it, as the caller. Errors: ToolRefused in words for
        the model; FrontDoorUnavailable.
        """
        ...

    async def operations(self, caller: Principal) -> Sequence[OperationCall]:
        """List what services let this caller do now. Errors: FrontDoorUnavailable."""
        ...


class Credentials(Protocol):
    """The tokens that calls carry. Asked for each call, since one is good for minutes and a run works for hours."""

    async def token_for(self, caller: Principal) -> str:
        """Give a token that speaks for this caller now. Errors: Unavailable."""
        ...
