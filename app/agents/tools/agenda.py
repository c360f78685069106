"""The agenda service as tools: each call goes through the front door, as the person who asked, so their roles hold.

A refusal of the service becomes words the model, or the person, can act on (`ToolRefused`).
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from app.agents.contract import Risk, ToolContext, ToolRefused, tool
from app.agents.front_door import FleetAnswer

AGENDA = "/api/v1/agenda"
PAGE_ITEMS = 100

_REFUSALS: Mapping[int, str] = {
    400: "The agenda does not understand this request.",
    401: "The agenda does not accept your login any more; log in again.",
    403: "You may not do this in the agenda.",
    404: "There is nothing like that in your agenda.",
    409: "This contradicts what is already in the agenda.",
    429: "The agenda takes no more requests for now; try again later.",
}


class Calendar(msgspec.Struct, frozen=True):
    id: int
    name: str


class Event(msgspec.Struct, frozen=True, rename={"starts": "dtstart", "ends": "dtend", "calendar_id": "calendarId"}):
    """A time without an offset never comes; None where the event has no such end."""

    id: int
    calendar_id: int
    summary: str
    starts: datetime | None = None
    ends: datetime | None = None


class CalendarPage(msgspec.Struct, frozen=True):
    """The first items; `total` counts those that did not fit, too."""

    items: list[Calendar]
    total: int


class EventPage(msgspec.Struct, frozen=True):
    items: list[Event]
    total: int


@tool(risk=Risk.READS)
async def list_calendars(ctx: ToolContext) -> CalendarPage:
    """List the user's calendars, with their ids and names."""
    answer = await ctx.call("GET", f"{AGENDA}/calendars/", query={"limit": str(PAGE_ITEMS)})
    return _read(answer, CalendarPage)


async def create_calendar(ctx: ToolContext, name: str) -> Calendar:
    """Create a calendar of this name for the user. Returns it with its new id."""
    return _read(await ctx.call("POST", f"{AGENDA}/calendars/", json={"name": name}), Calendar)


@tool(risk=Risk.READS)
async def list_events(ctx: ToolContext, start: str, end: str) -> EventPage:
    """List the user's events in a range of time, earliest first.

    Args:
        start: the first day, as YYYY-MM-DD, or an ISO 8601 date and time.
        end: the last day, included, or an ISO 8601 date and time, not included.
    """
    query = {"start_date": start, "end_date": end, "limit": str(PAGE_ITEMS)}
    return _read(await ctx.call("GET", f"{AGENDA}/components/by-range", query=query), EventPage)


@tool(risk=Risk.DESTROYS)
async def delete_calendar(ctx: ToolContext, calendar_id: int) -> str:
    """Delete a calendar with everything in it. It cannot be brought back: do it only when the user asked for it."""
    _accept(await ctx.call("DELETE", f"{AGENDA}/calendars/{calendar_id}"))
    return f"Calendar {calendar_id} is deleted."


def _read[T](answer: FleetAnswer, shape: type[T]) -> T:
    _accept(answer)
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ToolRefused("The agenda's answer cannot be read.") from error


def _accept(answer: FleetAnswer) -> None:
    """Errors: ToolRefused, for everything but a 2xx."""
    if not 200 <= answer.status < 300:
        fallback = f"The agenda is out of order (status {answer.status}); try again later."
        raise ToolRefused(_REFUSALS.get(answer.status, fallback))
