"""The events of a run: as they come, or as a list for whoever polls."""

from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Response, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter

from app.features.runs.controller import ABOUT_A_RUN
from app.features.runs.schemas import EventsOut, events_json
from app.features.runs.use_cases.follow_run import FollowRun
from app.features.runs.use_cases.read_events import ReadEvents
from app.infra.wire import sse
from app.kernel.errors import FieldError, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import RunId
from app.surfaces.streams.event_stream import EventStream
from app.surfaces.streams.exchange import AnyRequest, wants_events
from app.surfaces.streams.open_streams import OpenStreams

MAX_SEQ = 2**31 - 1
MAX_EVENTS = 1000
After = Annotated[int, QueryParameter(ge=0, le=MAX_SEQ, description="The `seq` of the last event that was read")]
Limit = Annotated[int, QueryParameter(ge=1, le=MAX_EVENTS, description="Of a list; a stream has no end but the run's")]
RESUMED = "last-event-id"


class RunEventsController(Controller):
    path = "/api/v1/runs"
    tags = ("runs",)
    opt = {"faults": ABOUT_A_RUN}  # noqa: RUF012 - Litestar reads it as a mapping

    @get(
        "/{run_id:str}/events",
        summary="Follow what a run says, from any event on",
        description=(
            "`text/event-stream`, resumed by `Last-Event-ID` or `after`; with `Accept: application/json` the list."
        ),
        responses={
            200: ResponseSpec(EventsOut, generate_examples=False, description="The events behind `after`"),
            204: ResponseSpec(
                None, generate_examples=False, description="The run is over, and everything it said was read"
            ),
        },
        opt={"faults": ABOUT_A_RUN, "streams": "200"},
    )
    @inject
    async def run_events(
        self,
        request: AnyRequest,
        run_id: FromPath[UUID],
        principal: NamedDependency[Principal],
        read: FromDishka[ReadEvents],
        follow: FromDishka[FollowRun],
        streams: FromDishka[OpenStreams],
        after: After = 0,
        limit: Limit = MAX_EVENTS,
    ) -> Response[Any]:
        if not wants_events(request, otherwise=sse.CONTENT_TYPE):
            stretch = await read(principal, RunId(run_id), after=after, limit=limit)
            return Response(events_json(stretch), media_type="application/json")
        last = last_event(request, after)
        events = await follow(principal, RunId(run_id), after=last)
        if events is None:  # a browser that is connected again by itself would ask for ever; this tells it to stop
            return Response(None, status_code=204)
        return EventStream(events, streams, after=last)


def last_event(request: AnyRequest, after: int) -> int:
    """Read where the reader is: what it says of itself, when it was connected before. Errors: ValidationFailed."""
    text = request.headers.get(RESUMED, "")
    if not text:
        return after
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_SEQ):
        raise ValidationFailed("Some fields are not valid.", errors=[FieldError("Last-Event-ID", "must be a `seq`")])
    return int(text)
