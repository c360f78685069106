"""A worker of `portico serve` that works on runs: it answers nobody, and hands its runs back when it is told to stop.

It ends with its supervisor, like the workers that answer requests. Its runs are not lost with it, whatever ends it.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Sequence

import uvloop

from app.kernel.draining import Draining
from app.settings import Settings
from app.surfaces.cli.database import embedded_running
from app.surfaces.cli.processes import end_with_parent
from app.surfaces.cli.root import Root
from app.surfaces.cli.serve import known_to_all, preflight
from app.surfaces.cli.tether import Tether
from app.surfaces.cli.worker_plan import Order, Report, WorkerPlan

NICENESS = 5
"""Behind those who answer requests, and its children with it: a turn takes seconds, a request less than one."""


def run(root: Root, plan: WorkerPlan) -> int:
    """Errors: CommandFailed, ConfigurationInvalid, EmbeddedPostgresUnavailable."""
    end_with_parent(plan.supervisor_pid)
    os.nice(NICENESS)
    with socket.socket(fileno=plan.channel_fd) as channel:
        tether = Tether(channel)
        settings = root.load_settings(plan.config)
        if not settings.front_door_url:
            settings = settings.model_copy(update={"front_door_url": plan.url})
        with embedded_running(settings):
            asyncio.run(_work(root, settings, plan, tether), loop_factory=uvloop.new_event_loop)
    return 0


async def _work(root: Root, settings: Settings, plan: WorkerPlan, tether: Tether) -> None:
    draining = Draining()

    def obey(order: Order, _: Sequence[str]) -> None:
        match order:
            case Order.RELOAD:
                tether.tell(Report.RELOADED)  # it has no route table
            case Order.DRAIN | Order.STOP | Order.END:
                draining.begin()
            case Order.COVER:
                pass

    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # asks the others to reload
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, draining.begin)
    await preflight(settings)
    tether.tell_found(settings)
    async with root.create_worker(settings, known_to_all(plan.place, draining)):
        tether.begin(obey)
        await draining.wait()
