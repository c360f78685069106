"""The real supervisor over workers that start in a fiftieth of a second: they answer with their index and process id.

    python stand_in.py supervise PORT WORKERS MOOD FOLDER      (PORT 0: on what systemd handed over)
    python stand_in.py work PLAN                               (started by the above, in the mood of STAND_IN_MOOD)

Moods: `well`; `refuses` (ends with 2 before it serves); `once` (serves the first time, and refuses from then on);
`hangs` (never serves); `lame` (serves the first time, and hangs from then on); `stubborn` (goes on when it is told to
stop); `deaf` (goes on whatever it is told).
"""

import os
import select
import socket
import sys
import time
from pathlib import Path

from app.surfaces.cli import worker_child
from app.surfaces.cli.command_failed import CommandFailed
from app.surfaces.cli.listener import Listener, inherit, open_listener
from app.surfaces.cli.processes import end_with_parent
from app.surfaces.cli.run_folder import run_folder
from app.surfaces.cli.supervisor import Crew, Supervisor
from app.surfaces.cli.systemd import Notifier
from app.surfaces.cli.worker_plan import Found, Order, Report, WorkerPlan

REFUSED = 2


def supervise(port: int, workers: int, mood: str, folder: Path) -> int:
    os.environ |= {"STAND_IN_MOOD": mood, "STAND_IN_FOLDER": str(folder)}
    worker_child._PAUSES_S = (0.05,)
    notifier = Notifier()
    listener = Listener(port=port)
    try:
        bound = open_listener(listener, workers=workers)
    except CommandFailed as failed:
        sys.stderr.write(f"{failed}\n")
        return failed.code

    def command(plan: WorkerPlan) -> list[str]:
        return [sys.executable, __file__, "work", plan.to_text()]

    with run_folder() as shared:
        crew = Crew(listener, workers, 0, None, shared, command, print)
        try:
            return Supervisor(crew, bound, notifier).run()
        except CommandFailed as failed:
            sys.stderr.write(f"{failed}\n")
            return failed.code


class Worker:
    def __init__(self, plan: WorkerPlan, mood: str) -> None:
        self.plan, self.mood = plan, mood
        self.channel = socket.socket(fileno=plan.channel_fd)
        self.sockets = [inherit(fd) for fd in plan.socket_fds]
        for one in self.sockets:
            one.setblocking(False)
        self.listening = [self.sockets[plan.place.index]] if plan.are_sockets_spread else self.sockets

    def tell(self, report: Report, text: str = "") -> None:
        self.channel.sendall(f"{report} {text}\n".encode())

    def run(self) -> int:
        started = Path(os.environ["STAND_IN_FOLDER"]) / f"started-{self.plan.place.index}-{os.getpid()}"
        has_started_before = bool(list(started.parent.glob(f"started-{self.plan.place.index}-*")))
        started.write_text(str(self.plan.place.folder))
        if self.mood == "refuses" or (self.mood == "once" and has_started_before):
            return REFUSED
        if self.mood == "hangs" or (self.mood == "lame" and has_started_before):
            time.sleep(60)
        self.tell(Report.CHECKED, Found(0, logs_are_json=True, embedded_home=None).to_text())
        self.tell(Report.SERVING)
        while self.turn():
            pass
        return 0

    def turn(self) -> bool:
        readable, _, _ = select.select([self.channel, *self.listening], [], [])
        for one in readable:
            if one is self.channel:
                lines = self.channel.recv(100).decode().splitlines()
                return bool(lines) and all(self.heed(*line.split()) for line in lines)
            self.answer(one)
        return True

    def heed(self, order: str, *indexes: str) -> bool:
        match order:
            case Order.RELOAD:
                self.tell(Report.RELOADED)
            case Order.COVER:
                self.listening = [self.sockets[index] for index in (self.plan.place.index, *map(int, indexes))]
            case Order.STOP:
                return self.mood in {"stubborn", "deaf"}
            case Order.END:
                return self.mood == "deaf"
        return True

    def answer(self, listening: socket.socket) -> None:
        try:
            client, _ = listening.accept()
        except BlockingIOError:  # a sibling was first
            return
        client.setblocking(True)
        with client:
            client.recv(1000)
            body = f"{self.plan.place.index} {os.getpid()}"
            client.sendall(
                f"HTTP/1.1 200 OK\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n{body}".encode()
            )


def main(role: str, *told: str) -> int:
    if role == "supervise":
        port, workers, mood, folder = told
        return supervise(int(port), int(workers), mood, Path(folder))
    plan = WorkerPlan.from_text(told[0])
    end_with_parent(plan.supervisor_pid)
    return Worker(plan, os.environ["STAND_IN_MOOD"]).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
