"""Calendars, events, files and a stream, put together as a program."""

from functools import partial

from litestar import Litestar
from litestar.di import Provide

from portico_fleet.agenda import calendars, categories, components
from portico_fleet.agenda.endpoints import CalendarController, CategoryController, ComponentController
from portico_fleet.agenda.files import Files
from portico_fleet.agenda.flows import FileController, stream_ticks
from portico_fleet.application import assemble, given
from portico_fleet.caller import provide_caller
from portico_fleet.options import Options, parser, read
from portico_fleet.paging import provide_window
from portico_fleet.serving import serve
from portico_fleet.store import Store


def main() -> None:
    options = read(parser("agenda", port=8002, description="Calendars, events, files and a stream.").parse_args())
    serve(options, partial(_build, options))


def _build(options: Options) -> Litestar:
    store = Store(options.data_dir / "agenda.sqlite3", calendars.SCHEMA + categories.SCHEMA + components.SCHEMA)
    files = Files(options.data_dir / "agenda-files")
    files.forget_unfinished()
    return assemble(
        "Portico demo: agenda",
        [CalendarController, ComponentController, CategoryController, FileController, stream_ticks],
        store=store,
        dependencies={
            "caller": Provide(provide_caller, sync_to_thread=False),
            "window": Provide(provide_window, sync_to_thread=False),
            "calendars": given(calendars.Calendars(store)),
            "components": given(components.Components(store)),
            "categories": given(categories.Categories(store)),
            "files": given(files),
        },
    )
