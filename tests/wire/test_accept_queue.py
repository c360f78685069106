"""A listening socket on its way out: who got through is still there to be accepted, and nobody new comes."""

import socket
import sys
from collections.abc import Iterator

import pytest

from app.surfaces.cli.accept_queue import has_waiting, refuse_newcomers

ANSWER_TIMEOUT_S = 0.3


@pytest.fixture(params=["127.0.0.1", "::1"])
def listening(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    try:
        bound = socket.create_server((request.param, 0), family=family)
    except OSError:
        pytest.skip(f"{request.param} is not there")
    with bound:
        yield bound


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere newcomers cannot be held off")
def test_who_waits_is_kept_with_what_was_sent_and_who_comes_later_is_not_let_in(listening: socket.socket) -> None:
    with socket.create_connection(listening.getsockname()[:2]) as early:
        if not refuse_newcomers(listening):
            pytest.skip("the kernel lets this account attach no socket filter")
        early.sendall(b"still here")

        with pytest.raises(TimeoutError):
            socket.create_connection(listening.getsockname()[:2], timeout=ANSWER_TIMEOUT_S)
        waited = has_waiting([listening])
        accepted, _ = listening.accept()

        with accepted:
            assert accepted.recv(100) == b"still here"
    assert waited
    assert not has_waiting([listening])


def test_a_unix_socket_is_left_as_it_is(tmp_path: object) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening, socket.socket(socket.AF_UNIX) as late:
        listening.bind(f"{tmp_path}/s")
        listening.listen()

        refuse_newcomers(listening)
        late.connect(f"{tmp_path}/s")

        assert has_waiting([listening])
