"""What a worker is told, as text, by the supervisor that starts it, and the words they exchange afterwards.

Standard library only: the supervisor imports this module.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self

from app.kernel.worker import ProcessRole, WorkerPlace
from app.surfaces.cli.listener import Listener

DRAIN_S = 30
"""what runs gets this long to end, when it is to stop"""


class Order(StrEnum):
    """What a supervisor tells its worker; when their channel ends, it is gone, and the worker ends at once."""

    RELOAD = "reload"
    DRAIN = "drain"
    """be not ready, end each connection with its next answer"""
    STOP = "stop"
    """accept nobody any more, finish what runs, end"""
    END = "end"
    """do not wait for what runs"""
    COVER = "cover"
    """accept from the sockets of these siblings too, and of no others; followed by their indexes"""


class Report(StrEnum):
    """What a worker tells its supervisor: a word, for some followed by a space and what belongs to it."""

    CHECKED = "checked"
    """configuration and database are in order; followed by a `Found`"""
    SERVING = "serving"
    RELOADED = "reloaded"
    LEAVING = "leaving"
    """it accepts nobody any more"""


@dataclass(frozen=True, slots=True)
class Found:
    """What the supervisor, which reads no settings, needs of them: how to log, where the embedded database lives."""

    log_level: int
    logs_are_json: bool
    embedded_home: str | None

    def to_text(self) -> str:
        return json.dumps([self.log_level, self.logs_are_json, self.embedded_home])

    @classmethod
    def from_text(cls, text: str) -> Self:
        return cls(*json.loads(text))


@dataclass(frozen=True, slots=True)
class WorkerPlan:
    """`socket_fds` and `channel_fd` are inherited; `supervisor_pid` is the parent, if it is still there.

    `url` is where this machine reaches the sockets; empty where there are none, or none with a host.
    """

    role: ProcessRole
    place: WorkerPlace
    url: str
    listener: Listener
    config: Path | None
    drain_delay_s: float
    socket_fds: tuple[int, ...]
    are_sockets_ours: bool
    are_sockets_spread: bool
    channel_fd: int
    supervisor_pid: int

    def to_text(self) -> str:
        return json.dumps(asdict(self), default=str)

    @classmethod
    def from_text(cls, text: str) -> Self:
        told = json.loads(text)
        place, listener = told.pop("place"), told.pop("listener")
        paths = {key: _path(listener[key]) for key in ("uds", "tls_cert", "tls_key")}
        return cls(
            role=ProcessRole(told.pop("role")),
            place=WorkerPlace(**place | {"folder": _path(place["folder"])}),
            listener=Listener(**listener | paths),
            config=_path(told.pop("config")),
            socket_fds=tuple(told.pop("socket_fds")),
            **told,
        )


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
