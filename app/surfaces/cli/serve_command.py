"""`portico serve`: open the sockets, prepare what the workers share, and supervise them.

What is imported here stays in the supervisor for its life: standard library and small modules of ours.
"""

import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from app.kernel.worker import ProcessRole
from app.surfaces.cli.listener import Bound, Listener, open_listener
from app.surfaces.cli.processes import has_terminal
from app.surfaces.cli.run_folder import run_folder
from app.surfaces.cli.supervisor import Crew, Supervisor
from app.surfaces.cli.systemd import Notifier
from app.surfaces.cli.worker_plan import WorkerPlan

DRAIN_DELAY_S = 2.0
"""long enough for a balancer that asks every second; on a terminal there is none"""
OPEN_FILES = 131_072
"""20,000 connections a worker, as many to upstreams, and room"""
# The folder this program was imported from goes last on the path, and the current one not at all.
_START = "import sys; sys.path.append(sys.argv.pop(1)); from app.__main__ import main; sys.exit(main())"
_IMPORTED_FROM = Path(__file__).resolve().parents[3]


def run(
    listener: Listener, *, role: ProcessRole, config: Path | None, workers: int, drain_delay_s: float | None
) -> int:
    """Start `workers` processes that answer requests, with one beside them that works on runs; or of one kind alone.

    Errors: CommandFailed.
    """
    web = 0 if role is ProcessRole.WORKER else workers
    others = {ProcessRole.ALL: 1, ProcessRole.WEB: 0, ProcessRole.WORKER: workers}[role]
    notifier = Notifier()
    if drain_delay_s is None:
        drain_delay_s = 0 if has_terminal() else DRAIN_DELAY_S
    _raise_file_limit()
    with ExitStack() as stack:
        bound = stack.enter_context(_open(listener, web))
        folder = stack.enter_context(run_folder()) if web + others > 1 else None

        def hold_database(home: str) -> None:
            stack.enter_context(_holding(home))

        crew = Crew(listener, web, drain_delay_s, config, folder, _command, hold_database, run_workers=others)
        return Supervisor(crew, bound, notifier).run()


@contextmanager
def _open(listener: Listener, workers: int) -> Iterator[Bound]:
    bound = open_listener(listener, workers=workers) if workers else Bound(())
    try:
        yield bound
    finally:
        bound.close()


@contextmanager
def _holding(home: str) -> Iterator[None]:
    """Keep the embedded database up while workers come and go. It is up already: a worker has looked."""
    from app.infra.db.embedded.postgres import EmbeddedPostgres  # noqa: PLC0415 - only where it is used

    embedded = EmbeddedPostgres(Path(home))
    embedded.acquire()
    try:
        yield
    finally:
        embedded.release()


def _command(plan: WorkerPlan) -> Sequence[str]:
    return [sys.executable, "-P", "-c", _START, str(_IMPORTED_FROM), "worker", plan.to_text()]


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
