"""What users said and how much, put together as a program."""

import os
from functools import partial

from litestar import Litestar
from litestar.di import Provide

from portico_fleet.analytics.endpoints import HANDLERS, Hook
from portico_fleet.analytics.snapshots import SCHEMA, Snapshots
from portico_fleet.application import assemble, given
from portico_fleet.caller import provide_caller
from portico_fleet.options import Options, parser, read
from portico_fleet.paging import provide_window
from portico_fleet.serving import serve
from portico_fleet.store import Store


def main() -> None:
    flags = parser("analytics", port=8003, description="What users said, and how much.")
    flags.epilog = "The environment's HOOK_TOKEN, when set, is the bearer token the gateway's message hook must show."
    options = read(flags.parse_args())
    serve(options, partial(_build, options))


def _build(options: Options) -> Litestar:
    store = Store(options.data_dir / "analytics.sqlite3", SCHEMA)
    return assemble(
        "Portico demo: analytics",
        HANDLERS,
        store=store,
        dependencies={
            "caller": Provide(provide_caller, sync_to_thread=False),
            "window": Provide(provide_window, sync_to_thread=False),
            "hook": given(Hook(os.environ.get("HOOK_TOKEN", ""))),
            "snapshots": given(Snapshots(store)),
        },
    )
