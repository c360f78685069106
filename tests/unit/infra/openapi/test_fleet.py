"""The fleet's description over time: what comes, changes, breaks and goes is there, or marked, or gone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from app.infra.observability.health import NotWell
from app.infra.openapi import fleet as module
from app.infra.openapi.fleet import FleetDescription
from app.kernel.clock import SystemClock
from app.kernel.errors import Unavailable
from tests.fakes.fleet import FakeFleet
from tests.unit.infra.openapi.parts import Doors, a_body, an_own, document_of

PATIENCE_S = 10
AGENDA = a_body({"/events": {"get": {"operationId": "list_events"}}})
BILLING = a_body({"/bills": {"get": {"operationId": "list_bills"}}})


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 0.05)
    monkeypatch.setattr(module, "LOOK_S", 0.02)
    monkeypatch.setattr(module, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(module, "SAY_S", 0.04)


@asynccontextmanager
async def kept(
    fleet: FakeFleet, *, is_introduced: bool = True, said: list[str] | None = None
) -> AsyncIterator[FleetDescription]:
    description = FleetDescription(fleet, SystemClock(), (said if said is not None else []).append)
    if is_introduced:
        description.introduce(lambda: an_own({"/own": {"get": {"operationId": "own"}}}))
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(description.keep())
        yield description
        keeping.cancel()


async def eventually(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_true():  # noqa: ASYNC110 - seen from outside, nobody could set an event
            await asyncio.sleep(0.005)


def ids(description: FleetDescription) -> set[str]:
    return {operation.id for operation in description.joined.operations}


def stale(description: FleetDescription) -> set[str]:
    return {operation.id for operation in description.joined.operations if operation.is_stale}


async def test_our_own_operations_are_there_before_any_upstream_answers() -> None:
    async with kept(FakeFleet(Doors(), {"agenda": "cannot be had"})) as description:
        joined = await description.current()

        assert [operation.id for operation in joined.operations] == ["own"]


async def test_what_upstreams_publish_is_joined_and_followed() -> None:
    fleet = FakeFleet(Doors(), {"agenda": AGENDA, "billing": BILLING})
    async with kept(fleet) as description:
        await eventually(lambda: ids(description) == {"own", "list_events", "list_bills"})
        before = description.joined.etag

        fleet.published["billing"] = a_body({"/bills": {"post": {"operationId": "add_bill"}}})

        await eventually(lambda: ids(description) == {"own", "list_events", "add_bill"})
        assert description.joined.etag != before
        assert await description.check() == (
            "agenda: 1 of 1 operations have a route; billing: 1 of 1 operations have a route"
        )


async def test_what_is_joined_is_said_at_once_and_again_and_again() -> None:
    fleet, said = FakeFleet(Doors(), {"agenda": AGENDA}), list[str]()
    async with kept(fleet, said=said) as description:
        await eventually(lambda: ids(description) == {"own", "list_events"})
        first = description.joined.etag
        await eventually(lambda: said.count(first) > 2)

        fleet.published["agenda"] = a_body({"/events": {"post": {"operationId": "add_event"}}})
        await eventually(lambda: ids(description) == {"own", "add_event"})
        assert said[-1] == description.joined.etag != first


async def test_before_anything_is_joined_nothing_is_said() -> None:
    said = list[str]()
    async with kept(FakeFleet(Doors(), {"agenda": AGENDA}), is_introduced=False, said=said):
        await asyncio.sleep(0.2)

    assert said == []


async def test_a_dead_upstreams_last_description_stays_marked_until_it_is_back() -> None:
    fleet = FakeFleet(Doors(), {"agenda": AGENDA, "billing": BILLING})
    async with kept(fleet) as description:
        await eventually(lambda: len(ids(description)) == 3)

        fleet.published["agenda"] = "cannot be had: refused"
        await eventually(lambda: stale(description) == {"list_events"})
        document = document_of(description.joined)
        with pytest.raises(
            NotWell, match=r"agenda: stale since 20\S+Z, as it cannot be had: refused; 1 of 1 .* billing: 1"
        ):
            await description.check()
        fleet.published["agenda"] = AGENDA
        await eventually(lambda: stale(description) == set())

        assert "x-portico-stale-since" in document["paths"]["/agenda/events"]["get"]
        assert ids(description) == {"own", "list_events", "list_bills"}
        assert "billing" in await description.check()


@pytest.mark.parametrize("rubbish", [b"<html>", b'{"swagger": "2.0"}', b"[" * 100_000], ids=["html", "swagger", "deep"])
async def test_rubbish_in_place_of_a_description_harms_nobody(rubbish: bytes) -> None:
    fleet = FakeFleet(Doors(), {"agenda": rubbish, "billing": BILLING})
    async with kept(fleet) as description:
        await eventually(lambda: fleet.fetches.count("agenda") > 1 and ids(description) == {"own", "list_bills"})

        with pytest.raises(NotWell, match="agenda: its description is "):
            await description.check()


async def test_an_upstream_that_hangs_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_TIMEOUT_S", 0.1)
    hanging = HangingFleet(Doors(), {"agenda": AGENDA, "billing": BILLING})
    async with kept(hanging) as description:
        await eventually(lambda: ids(description) == {"own", "list_bills"})
        await eventually(lambda: hanging.fetches.count("agenda") > 1)

        with pytest.raises(NotWell, match=r"agenda: its description was not complete within 0\.1 s"):
            await description.check()


class HangingFleet(FakeFleet):
    async def fetch(self, upstream: str, *, limit_bytes: int) -> bytes:
        found = await super().fetch(upstream, limit_bytes=limit_bytes)
        if upstream == "agenda":
            await asyncio.sleep(3600)
        return found


async def test_a_changed_table_is_followed_without_a_fetch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 3600)
    doors = Doors()
    fleet = FakeFleet(doors, {"agenda": AGENDA})
    async with kept(fleet) as description:
        await eventually(lambda: "list_events" in ids(description))

        doors.moved, fleet.rows = {"/events": []}, object()

        await eventually(lambda: ids(description) == {"own"})
        assert fleet.fetches == ["agenda"]


async def test_upstreams_come_move_and_go_with_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REFRESH_S", 3600)
    fleet = FakeFleet(Doors(), {"agenda": AGENDA})
    async with kept(fleet) as description:
        await eventually(lambda: "list_events" in ids(description))

        fleet.published["billing"] = BILLING
        await eventually(lambda: "list_bills" in ids(description))
        fleet.published["agenda"], fleet.places["agenda"] = a_body({"/new": {"get": {"operationId": "new"}}}), object()
        await eventually(lambda: ids(description) == {"own", "new", "list_bills"})
        del fleet.published["billing"]
        await eventually(lambda: ids(description) == {"own", "new"})

        assert await description.check() == "agenda: 1 of 1 operations have a route"


async def test_nothing_is_joined_again_while_nothing_changes() -> None:
    fleet = FakeFleet(Doors(), {"agenda": AGENDA})
    async with kept(fleet) as description:
        await eventually(lambda: "list_events" in ids(description))
        before = description.joined

        await eventually(lambda: len(fleet.fetches) > 3)

        assert description.joined is before


async def test_who_asks_too_early_waits_and_is_told_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_JOIN_TIMEOUT_S", 0.05)
    async with kept(FakeFleet(Doors()), is_introduced=False) as description:
        with pytest.raises(Unavailable):
            await description.current()

        description.introduce(an_own)
        await eventually(lambda: description.joined.body != b"")

        assert (await description.current()).operations == ()
        assert await description.check() == "no upstream publishes one"
