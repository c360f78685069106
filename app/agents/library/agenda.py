"""Looks after the caller's calendars: by tools where the model can call them, else by a few commands."""

from collections.abc import Sequence

from app.agents.contract import Agent, ToolContext, ToolRefused
from app.agents.tools.agenda import Event, create_calendar, delete_calendar, list_calendars, list_events

HELP = """The present model cannot call tools, so I take commands:
  list              your calendars
  create NAME       a new calendar
  events FROM TO    events between two days, such as events 2026-01-01 2026-01-31
  delete ID         a calendar, with everything in it
  help              this list"""


async def obey(ctx: ToolContext) -> str:
    """Do the command that was typed; an unknown one gets the list of those there are."""
    try:
        return await _obey(ctx)
    except ToolRefused as refused:
        return refused.reason


async def _obey(ctx: ToolContext) -> str:
    match ctx.turn.text.split():
        case [word] if word.lower() == "list":
            return await _list(ctx)
        case [word, *name] if word.lower() == "create" and name:
            made = await create_calendar(ctx, " ".join(name))
            return f"Created calendar {made.id}: {made.name}."
        case [word, start, end] if word.lower() == "events":
            return await _events(ctx, start, end)
        case [word, number] if word.lower() == "delete" and number.isdecimal() and len(number) < 19:
            return await delete_calendar(ctx, int(number))
        case _:
            return HELP


async def _list(ctx: ToolContext) -> str:
    page = await list_calendars(ctx)
    lines = [f"{calendar.id}: {calendar.name}" for calendar in page.items]
    return _shown("You have no calendars; make one with: create NAME", lines, page.total)


async def _events(ctx: ToolContext, start: str, end: str) -> str:
    page = await list_events(ctx, start, end)
    return _shown("There are no events in that time.", [_line(event) for event in page.items], page.total)


def _line(event: Event) -> str:
    start = event.starts or event.ends
    return f"{start:%Y-%m-%d %H:%M}  {event.summary}" if start else event.summary


def _shown(nothing: str, lines: Sequence[str], total: int) -> str:
    rest = [f"and {total - len(lines)} more"] if total > len(lines) else []
    return "\n".join([*lines, *rest]) or nothing


agent = Agent(
    name="agenda",
    description="Lists, creates and deletes your calendars, and lists your events.",
    instructions=(
        "You look after the user's calendars with your tools. Never invent a calendar, an event or an id: list them. "
        "Before you delete anything, name it and ask. Answer briefly, in the user's language."
    ),
    tools=[list_calendars, create_calendar, list_events, delete_calendar],
    fallback=obey,
)
