"""`portico serve`: the process that holds the sockets, starts the workers, starts them again, and stops them together.

    STARTING --a worker serves--> SERVING --told to stop--> DRAINING --after the delay--> CLOSING --all ended--> over
        `--a worker cannot, or told to stop--> CLOSING        `--no worker can be started any more--> CLOSING

In DRAINING the workers are not ready, and still accept; in CLOSING they finish what runs. Those that work on runs hand
them back in DRAINING already, for another instance to go on with. It loads the standard library
and small modules of ours, so that hardly anything can go wrong here; importing anything else is a mistake (only the
embedded database, where it is used, brings structlog in).
"""

import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from app.kernel.worker import ProcessRole, WorkerPlace
from app.surfaces.cli.command_failed import CommandFailed
from app.surfaces.cli.listener import Bound, Listener, url_of
from app.surfaces.cli.processes import Signals, has_terminal, reap_strangers
from app.surfaces.cli.supervisor_log import SupervisorLog
from app.surfaces.cli.systemd import READY, STOPPING, Notifier, reloading
from app.surfaces.cli.worker_child import Child, Seat, start_child
from app.surfaces.cli.worker_plan import DRAIN_S, Found, Order, Report, WorkerPlan

EXIT_INTERRUPTED = 130
LAST_WORDS_S = 10.0
"""for a worker to close what it has open, after the last request has had its thirty seconds"""
ABRUPT_END_S = 5.0
FAILED_STARTS = 5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


class Phase(Enum):
    STARTING = auto()
    SERVING = auto()
    DRAINING = auto()
    CLOSING = auto()


@dataclass(frozen=True, slots=True)
class Crew:
    """Whom to start: `command` tells how, `hold_database` is called once when a worker uses the embedded one.

    `workers` answer requests, `run_workers` work on runs.
    """

    listener: Listener
    workers: int
    drain_delay_s: float
    config: Path | None
    folder: Path | None
    command: Callable[[WorkerPlan], Sequence[str]]
    hold_database: Callable[[str], None]
    run_workers: int = 0

    def seats(self) -> list[Seat]:
        roles = [ProcessRole.WEB] * self.workers + [ProcessRole.WORKER] * self.run_workers
        return [Seat(index, role) for index, role in enumerate(roles)]


class Supervisor:
    """Concurrency: the main thread, since the kernel ends the workers with the thread that started them; another one
    writes the log.
    """

    def __init__(self, crew: Crew, bound: Bound, notifier: Notifier) -> None:
        self._crew = crew
        self._bound = bound
        self._notifier = notifier
        self._log = SupervisorLog()
        self._seats = crew.seats()
        self._phase = Phase.STARTING
        self._had_terminal = has_terminal()
        self._failed_starts = 0
        self._stop_at_s: float | None = None
        self._kill_at_s: float | None = None
        self._code = 0
        self._failure: CommandFailed | None = None

    def run(self) -> int:
        """Serve until told to stop; tell the exit code. Errors: CommandFailed."""
        self._seats[0].start_at_s = time.monotonic()
        with Signals(_SIGNALS) as signals:
            while not self._is_over:
                self._start_those_due()
                channels = [child.channel for child in self._children if child.can_report]
                for number in signals.wait(channels, self._pause_s):
                    self._heed(number)
                self._listen()
                self._bury()
                self._keep_time()
        if self._failure is not None:
            raise self._failure
        return self._code

    @property
    def _children(self) -> list[Child]:
        return [seat.child for seat in self._seats if seat.child is not None]

    @property
    def _web_seats(self) -> list[Seat]:
        return [seat for seat in self._seats if seat.is_web]

    @property
    def _url(self) -> str:
        """Tell where agents reach the front door, which is not on a Unix socket for them."""
        sockets = [one for one in self._bound.sockets if one.family != socket.AF_UNIX]
        return url_of(sockets[0], is_tls=self._crew.listener.is_tls) if sockets else ""

    @property
    def _is_over(self) -> bool:
        return self._phase in {Phase.DRAINING, Phase.CLOSING} and not self._children

    @property
    def _pause_s(self) -> float | None:
        """How long nothing is due."""
        due = [self._stop_at_s, self._kill_at_s, *(seat.start_at_s for seat in self._seats)]
        moments = [one for one in due if one is not None]
        return min(moments) - time.monotonic() if moments else None

    def _start_those_due(self) -> None:
        now_s = time.monotonic()
        for seat in self._seats:
            if seat.start_at_s is not None and seat.start_at_s <= now_s:
                self._start(seat)

    def _start(self, seat: Seat) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            sockets = self._bound.sockets if seat.is_web else ()
            name = f"{socket.gethostname()}:{seat.index}:{secrets.token_hex(4)}"
            crew = self._crew
            plan = WorkerPlan(
                role=seat.role,
                place=WorkerPlace(seat.index, crew.workers, crew.folder, crew.run_workers, name, seat.name),
                url=self._url,
                listener=crew.listener,
                config=crew.config,
                drain_delay_s=crew.drain_delay_s,
                socket_fds=tuple(one.fileno() for one in sockets),
                are_sockets_ours=self._bound.are_ours,
                are_sockets_spread=self._bound.are_spread,
                channel_fd=theirs.fileno(),
                supervisor_pid=os.getpid(),
            )
            fds = (*plan.socket_fds, plan.channel_fd)
            try:
                seat.sit(start_child(crew.command(plan), fds=fds, channel=ours), name)
            except OSError as error:  # too many processes, or no memory
                ours.close()
                self._log.error("worker.not_started", worker=seat.index, problem=error.strerror)
                seat.postpone(time.monotonic())

    def _heed(self, number: signal.Signals) -> None:
        if number in {signal.SIGINT, signal.SIGTERM}:
            self._stop()
        elif number == signal.SIGHUP:
            self._hang_up()

    def _hang_up(self) -> None:
        """Reload; but where a terminal has gone, its hang-up asks to stop."""
        if self._had_terminal and not has_terminal():
            self._stop()
        elif self._phase is Phase.SERVING:
            self._notifier.say(reloading())
            for child in self._children:
                child.is_reloading = True
                child.order(Order.RELOAD)

    def _stop(self) -> None:
        match self._phase:
            case Phase.STARTING:
                self._code = EXIT_INTERRUPTED
                self._abandon()
            case Phase.SERVING:
                self._drain()
            case Phase.DRAINING | Phase.CLOSING:
                self._end_abruptly()

    def _drain(self) -> None:
        self._phase = Phase.DRAINING
        self._notifier.say(STOPPING)
        self._log.info("supervisor.draining", seconds=self._crew.drain_delay_s)
        self._stop_at_s = time.monotonic() + self._crew.drain_delay_s
        for seat in self._seats:
            seat.start_at_s = None
        for child in self._children:
            if child.is_serving:
                child.order(Order.DRAIN)
            else:
                child.send(signal.SIGTERM)

    def _accept_no_more(self) -> None:
        """Leave the sockets to the workers, the last of whom closes them when nobody waits in their queue."""
        self._phase = Phase.CLOSING
        self._stop_at_s = None
        self._kill_at_s = time.monotonic() + DRAIN_S + LAST_WORDS_S
        self._bound.close()
        for child in self._children:
            child.order(Order.STOP)

    def _abandon(self) -> None:
        """Give the start up: nobody serves."""
        self._phase = Phase.CLOSING
        self._kill_at_s = time.monotonic() + ABRUPT_END_S
        for seat in self._seats:
            seat.start_at_s = None
        for child in self._children:
            child.send(signal.SIGTERM)

    def _end_abruptly(self) -> None:
        self._phase = Phase.CLOSING
        self._stop_at_s = None
        self._kill_at_s = time.monotonic() + ABRUPT_END_S
        self._bound.close()
        for child in self._children:
            child.order(Order.END)

    def _listen(self) -> None:
        for seat in self._seats:
            if (child := seat.child) is not None:
                for report, text in child.reports():
                    self._note(seat, child, report, text)

    def _note(self, seat: Seat, child: Child, report: Report, text: str) -> None:
        match report:
            case Report.CHECKED if self._phase is Phase.STARTING:
                self._start_the_others(Found.from_text(text))
            case Report.SERVING:
                self._serve(seat, child)
            case Report.LEAVING:
                child.has_left = True
                self._cover()
            case Report.RELOADED:
                child.is_reloading = False
                if not any(one.is_reloading for one in self._children):
                    self._notifier.say(READY)

    def _start_the_others(self, found: Found) -> None:
        """One worker looks first, so that what is wrong is said once."""
        self._log.set_up(level=found.log_level, as_json=found.logs_are_json)
        if found.embedded_home is not None:
            self._crew.hold_database(found.embedded_home)
        for seat in self._seats:
            if seat.child is None:
                seat.start_at_s = time.monotonic()

    def _serve(self, seat: Seat, child: Child) -> None:
        child.serving_since_s = time.monotonic()
        self._failed_starts = 0
        if self._phase is Phase.STARTING and seat.role is self._seats[0].role:
            self._phase = Phase.SERVING
            self._notifier.say(READY)
        self._cover()

    def _cover(self) -> None:
        """Have the workers accept for those of their siblings who do not."""
        if not self._bound.are_spread or self._phase is Phase.CLOSING:
            return
        accepting = {seat.index: seat.child for seat in self._web_seats if seat.child and seat.child.accepts}
        vacant = [seat.index for seat in self._web_seats if seat.index not in accepting]
        for child in accepting.values():
            child.order(Order.COVER, *vacant)

    def _bury(self) -> None:
        """Take those who have ended away, and what they reported last with them."""
        for seat in self._seats:
            if seat.child is not None and (code := seat.child.process.poll()) is not None:
                self._lose(seat.vacate(time.monotonic()), seat, code)
                self._cover()
        reap_strangers({child.process.pid for child in self._children})

    def _lose(self, child: Child, seat: Seat, code: int) -> None:
        if self._phase is Phase.STARTING:
            self._code = code if code > 0 else 1
            if code < 0:
                self._failure = CommandFailed(f"a worker was ended by signal {-code} before it could serve")
            self._abandon()
        elif self._phase is Phase.SERVING:
            self._log.warning("worker.ended", worker=seat.index, role=seat.role, pid=child.process.pid, code=code)
            self._failed_starts += not child.is_serving
            if self._failed_starts >= FAILED_STARTS and not any(one.is_serving for one in self._children):
                words = f"the workers cannot start any more ({FAILED_STARTS} attempts); the lines above say why"
                self._failure = CommandFailed(words)
                self._abandon()
        else:
            seat.start_at_s = None

    def _keep_time(self) -> None:
        now_s = time.monotonic()
        if self._stop_at_s is not None and now_s >= self._stop_at_s:
            self._accept_no_more()
        if self._kill_at_s is not None and now_s >= self._kill_at_s:
            self._kill_at_s = None
            self._code = self._code or 1
            for child in self._children:
                self._log.warning("worker.killed", pid=child.process.pid)
                child.send(signal.SIGKILL)
