"""The fleet as an agent sees it, without a fleet: a small agenda that keeps each caller's calendars apart."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from app.agents.front_door import FleetAnswer, FrontDoorUnavailable, Outgoing
from app.infra.openapi.calls import OperationCall
from app.kernel.identity import Principal

CALENDARS = "/api/v1/agenda/calendars/"
BY_RANGE = "/api/v1/agenda/components/by-range"


@dataclass(frozen=True, slots=True)
class Asked:
    caller: Principal
    method: str
    path: str
    json: object = None
    query: Mapping[str, str | Sequence[str]] | None = None
    idempotency_key: str = ""
    form: Mapping[str, str | Sequence[str]] | None = None


@dataclass
class FakeFrontDoor:
    """`refuses_with` makes every call end in that status, `body` in those bytes, `is_gone` in no answer at all."""

    refuses_with: int | None = None
    body: bytes | None = None
    is_gone: bool = False
    events: list[dict[str, object]] = field(default_factory=list)
    sent: list[Outgoing] = field(default_factory=list)
    offers: Sequence[OperationCall] = ()
    asked: list[Asked] = field(default_factory=list)
    calendars: dict[str, dict[int, str]] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=lambda: count(1))

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
        self.asked.append(Asked(caller, method, path, json, query, idempotency_key, form))
        if self.is_gone:
            raise FrontDoorUnavailable("The front door did not answer.")
        if self.refuses_with is not None or self.body is not None:
            return FleetAnswer(self.refuses_with or 200, self.body or b"{}")
        return self._answer(self.calendars.setdefault(caller.user_id, {}), method, path, json)

    async def call_outside(self, caller: Principal, outgoing: Outgoing, *, idempotency_key: str = "") -> FleetAnswer:
        del caller, idempotency_key
        self.sent.append(outgoing)
        return FleetAnswer(200, b"{}")

    async def operations(self, caller: Principal) -> Sequence[OperationCall]:
        del caller
        if self.is_gone:
            raise FrontDoorUnavailable("The front door did not answer.")
        return self.offers

    def _answer(self, mine: dict[int, str], method: str, path: str, body: Any) -> FleetAnswer:  # JSON has any shape
        if method == "GET" and path == CALENDARS:
            return _page([{"id": key, "name": name, "userId": "7"} for key, name in mine.items()])
        if method == "GET" and path == BY_RANGE:
            return _page(self.events)
        if method == "POST" and path == CALENDARS:
            key = next(self._ids)
            mine[key] = body["name"]
            return FleetAnswer(201, _encoded({"id": key, "name": mine[key], "userId": "7"}))
        if method == "DELETE" and path.startswith(CALENDARS):
            return FleetAnswer(204 if mine.pop(int(path.removeprefix(CALENDARS)), None) else 404, b"")
        return FleetAnswer(405, b"{}")


def _page(items: list[dict[str, object]]) -> FleetAnswer:
    return FleetAnswer(200, _encoded({"items": items, "total": len(items), "limit": 100, "offset": 0}))


def _encoded(value: object) -> bytes:
    return json.dumps(value).encode()
