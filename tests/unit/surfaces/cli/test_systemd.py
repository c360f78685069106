import socket
from contextlib import suppress
from pathlib import Path

import pytest

from app.surfaces.cli.systemd import READY, Notifier


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    place = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", place)
    return place


def test_systemd_is_told(place: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(place)

        Notifier().say(READY)

        assert systemd.recv(100) == b"READY=1"


def test_a_systemd_that_hears_nobody_holds_up_nobody(place: str) -> None:
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others,
    ):
        systemd.bind(place)
        others.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                others.sendto(b".", place)

        Notifier().say(READY)  # comes back


def test_a_systemd_that_is_gone_is_told_nothing(place: str) -> None:
    del place

    Notifier().say(READY)  # and nothing is raised
