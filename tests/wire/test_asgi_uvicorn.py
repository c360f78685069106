"""`uvicorn app.asgi:app`, with nothing set but the environment: the same front door."""

import sys
from collections.abc import Iterator

import httpx
import pytest

from tests.builders import public_pem
from tests.e2e.program import Program, a_home, free_port, running
from tests.wire.caller import calling, get, post_chunks
from tests.wire.hostile import HI, OK, answering, answering_then_closing, hostile

UPSTREAM_PORT = free_port()


@pytest.fixture(scope="module", params=["auto", "h11"])
def gateway(request: pytest.FixtureRequest, database_dsn: str) -> Iterator[Program]:
    with a_home() as home:
        config = home / "gateway.toml"
        row = '[[routes]]\nprefix = "/there"\nupstream = "there"\naccess = "PUBLIC"\n'
        local = '[[routes]]\nprefix = "/api/health"\nlocal = true\naccess = "PUBLIC"\n'
        config.write_text(f'[upstreams.there]\nurl = "http://127.0.0.1:{UPSTREAM_PORT}"\n{row}{local}')
        values = {
            "POSTGRES_DSN": database_dsn,
            "JWT_PUBLIC_KEY": public_pem(),
            "DEFAULT_MODEL": "scripted",
            "GATEWAY_CONFIG": str(config),
        }
        port = free_port()
        command = (sys.executable, "-m", "uvicorn", "app.asgi:app", "--port", str(port), "--http", request.param)
        with running(home, *command, url=f"http://127.0.0.1:{port}", **values) as program:
            program.awaits(program.is_ready)
            yield program


def port_of(program: Program) -> int:
    return httpx.URL(program.url).port or 0


async def test_it_carries_requests_and_answers(gateway: Program) -> None:
    async with hostile(answering(HI), port=UPSTREAM_PORT), calling(port_of(gateway)) as caller:
        await caller.send(post_chunks(b"/there/x", b"hello", b""))
        answered = await caller.answer()

        assert (answered.status, answered.body, answered.is_whole) == (200, b"hi", True)


async def test_it_never_presents_a_cut_answer_as_whole(gateway: Program) -> None:
    cut = OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
    async with hostile(answering_then_closing(cut), port=UPSTREAM_PORT), calling(port_of(gateway)) as caller:
        await caller.send(get(b"/there/x"))
        answered = await caller.answer()

        assert answered.is_whole is (answered.status == 502)


async def test_it_refuses_what_has_no_row(gateway: Program) -> None:
    async with calling(port_of(gateway)) as caller:
        await caller.send(get(b"/nowhere"))
        answered = await caller.answer()

        assert answered.problem["type"] == "route-not-found"
