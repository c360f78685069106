"""Say something to a widget."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.features.widgets.domain import (
    KIND,
    MAX_SESSIONS,
    MAX_TURNS,
    TEXT_LIMIT_CHARS,
    TRIGGER,
    Session,
    Widget,
    WidgetFull,
    WidgetNotFound,
    WidgetSessionBusy,
    WidgetSessionFull,
    WidgetSessionNotFound,
    input_of,
    key_of,
    new_session_id,
)
from app.features.widgets.ports import WidgetSessions
from app.infra.durable.ports import Engine, NewRun, RunQueue
from app.kernel.clock import Clock
from app.kernel.errors import FieldError, refuse_invalid
from app.kernel.ids import RunId, new_run_id
from app.kernel.storable import text_problem
from app.kernel.transaction import Begin, Tx
from app.kernel.widgets import owner_of


@dataclass(frozen=True, slots=True)
class Begun:
    session_id: str
    run_id: RunId


@dataclass(frozen=True, slots=True)
class AskWidget:
    """Commit a run that answers a visitor, in a session of theirs or a new one, and offer it to the workers.

    Errors: ValidationFailed, WidgetNotFound, WidgetSessionNotFound, WidgetSessionBusy, WidgetSessionFull, WidgetFull.
    """

    widgets: Mapping[str, Widget]
    begin: Begin
    sessions: WidgetSessions
    queue: RunQueue
    engine: Engine
    clock: Clock

    async def __call__(self, name: str, text: str, *, session_id: str | None, request_id: str) -> Begun:
        widget = self.widgets.get(name)
        if widget is None:
            raise WidgetNotFound
        problem = text_problem(text.strip(), at_least=1, at_most=TEXT_LIMIT_CHARS)
        refuse_invalid([FieldError("message", problem)] if problem else [])
        async with self.begin() as tx:
            session_id, session = await self._session(tx, widget, session_id)
            run_id = await self._put(tx, widget, session, text.strip(), request_id=request_id)
        await self.engine.dispatch(run_id)
        return Begun(session_id, run_id)

    async def _session(self, tx: Tx, widget: Widget, session_id: str | None) -> tuple[str, Session]:
        if session_id is None:
            made = new_session_id()
            opened = await self.sessions.open(
                tx, key_of(made), widget.name, life=widget.session_life, at_most=MAX_SESSIONS
            )
            if opened is None:
                raise WidgetFull("Try again in a while.", headers={"retry-after": "60"})
            return made, opened
        found = await self.sessions.take(tx, key_of(session_id), widget.name, life=widget.session_life)
        if found is None:
            raise WidgetSessionNotFound("It may have expired; leave session_id out to begin anew.")
        if found.is_busy:
            raise WidgetSessionBusy("Wait for its answer.", headers={"retry-after": "1"})
        if found.turns >= MAX_TURNS:
            raise WidgetSessionFull("Leave session_id out to begin anew.")
        return session_id, found

    async def _put(self, tx: Tx, widget: Widget, session: Session, text: str, *, request_id: str) -> RunId:
        run = NewRun(
            id=new_run_id(),
            kind=KIND,
            owner=owner_of(widget.name),
            trigger=TRIGGER,
            input=input_of(widget, session.key, text, request_id=request_id, now_s=self.clock.time_s()),
            agent=widget.agent,
            on_disconnect="cancel",
        )
        run_id = await self.queue.put(tx, run)
        await self.sessions.note_run(tx, session.key, run_id)
        return run_id
