"""The agenda endpoints, at the paths the gateway forwards to (it has taken `/agenda` out)."""

from typing import Annotated

from litestar import Controller, delete, get, patch, post
from litestar.params import Dependency, Parameter

from portico_fleet.agenda.calendars import Calendar, CalendarChange, CalendarPage, Calendars, NewCalendar
from portico_fleet.agenda.categories import Categories, Category, CategoryPage, NewCategory
from portico_fleet.agenda.components import Component, ComponentChange, ComponentPage, Components, NewComponent, Range
from portico_fleet.agenda.moments import read_since, read_until
from portico_fleet.application import SIGNED_IN
from portico_fleet.caller import Asking
from portico_fleet.paging import Wanted
from portico_fleet.problems import refusals
from portico_fleet.refused import FieldRefused

_Calendars = Annotated[Calendars, Dependency(skip_validation=True)]
_Components = Annotated[Components, Dependency(skip_validation=True)]
_Categories = Annotated[Categories, Dependency(skip_validation=True)]
_Id = Annotated[int, Parameter(ge=1, le=2**53 - 1)]


class CalendarController(Controller):
    path = "/api/v1/calendars"
    tags = ["calendars"]  # noqa: RUF012 -- Litestar's own shape
    security = SIGNED_IN

    @get("/", summary="List calendars", responses=refusals(400, 401))
    async def list_calendars(self, caller: Asking, window: Wanted, calendars: _Calendars) -> CalendarPage:
        return await calendars.page(caller, window)

    @post("/", summary="Make a calendar", responses=refusals(400, 401, 403, 409))
    async def create_calendar(self, data: NewCalendar, caller: Asking, calendars: _Calendars) -> Calendar:
        return await calendars.add(caller, data)

    @get("/{calendar_id:int}", summary="Read a calendar", responses=refusals(400, 401, 404))
    async def read_calendar(self, calendar_id: _Id, caller: Asking, calendars: _Calendars) -> Calendar:
        return await calendars.get(caller, calendar_id)

    @patch("/{calendar_id:int}", summary="Change a calendar", responses=refusals(400, 401, 404))
    async def update_calendar(
        self, calendar_id: _Id, data: CalendarChange, caller: Asking, calendars: _Calendars
    ) -> Calendar:
        return await calendars.change(caller, calendar_id, data)

    @delete("/{calendar_id:int}", summary="Delete a calendar and all in it", responses=refusals(400, 401, 404))
    async def delete_calendar(self, calendar_id: _Id, caller: Asking, calendars: _Calendars) -> None:
        await calendars.remove(caller, calendar_id)


class ComponentController(Controller):
    path = "/api/v1/components"
    tags = ["components"]  # noqa: RUF012 -- Litestar's own shape
    security = SIGNED_IN

    @post("/", summary="Make an event or a task", responses=refusals(400, 401, 404))
    async def create_component(self, data: NewComponent, caller: Asking, components: _Components) -> Component:
        return await components.add(caller, data)

    @get("/by-range", summary="Find what overlaps a range of time", responses=refusals(400, 401))
    async def find_components_by_range(
        self,
        *,
        caller: Asking,
        window: Wanted,
        components: _Components,
        start_date: Annotated[str, Parameter(max_length=40, description="A date, or an ISO 8601 date and time")],
        end_date: Annotated[str, Parameter(max_length=40, description="A date, included, or a date and time, not")],
        calendar_id: _Id | None = None,
    ) -> ComponentPage:
        since, until = read_since(start_date), read_until(end_date)
        if until <= since:
            raise FieldRefused("end_date", "not after start_date")
        return await components.in_range(caller, Range(since, until, calendar_id), window)

    @get("/{component_id:int}", summary="Read a component", responses=refusals(400, 401, 404))
    async def read_component(self, component_id: _Id, caller: Asking, components: _Components) -> Component:
        return await components.get(caller, component_id)

    @patch("/{component_id:int}", summary="Change a component", responses=refusals(400, 401, 404))
    async def update_component(
        self, component_id: _Id, data: ComponentChange, caller: Asking, components: _Components
    ) -> Component:
        return await components.change(caller, component_id, data)

    @delete("/{component_id:int}", summary="Delete a component", responses=refusals(400, 401, 404))
    async def delete_component(self, component_id: _Id, caller: Asking, components: _Components) -> None:
        await components.remove(caller, component_id)


class CategoryController(Controller):
    path = "/api/v1/categories"
    tags = ["categories"]  # noqa: RUF012 -- Litestar's own shape
    security = SIGNED_IN

    @get("/", summary="List the categories everybody has, and one's own", responses=refusals(400, 401))
    async def list_categories(self, caller: Asking, window: Wanted, categories: _Categories) -> CategoryPage:
        return await categories.page(caller, window)

    @post("/", summary="Make a category of one's own", responses=refusals(400, 401, 409))
    async def create_category(self, data: NewCategory, caller: Asking, categories: _Categories) -> Category:
        return await categories.add(caller, data)
