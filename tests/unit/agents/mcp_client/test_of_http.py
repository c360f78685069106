"""A server at an address: whose headers go, and what becomes of it when it is gone and comes again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.agents.mcp_client import servers as servers_module
from app.infra.observability.health import NotWell
from tests.unit.agents.desk import a_caller
from tests.unit.agents.mcp_client.rig import at, call, kept, offers, refused, says, served, tools_of, until


async def test_each_user_has_a_connection_with_headers_of_his_own_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(servers_module, "USERS_LIMIT", 2)
    mine: dict[str, Any] = {"caller_token": True, "caller_id_header": "X-User", "headers": {"X-Key": "k-${KEY}"}}
    with capture_logs() as lines:
        async with (
            served() as (url, _),
            kept(at(url, environment={"KEY": "planted-key-1"}, **mine), at(url, "bare")) as client,
        ):
            seen = {}
            for user in ("7", "8", "9"):
                caller = a_caller(user)
                tools = await tools_of(client, "small", caller=caller)
                seen[user] = await call(tools["small_who_am_i"], caller=caller)
            bare = await tools_of(client, "bare")
            without = await call(bare["bare_who_am_i"])
            health = await client.health("small"), await client.health("bare")
            async with asyncio.TaskGroup() as group:
                sums = [group.create_task(call(bare["bare_add"], a=n, b=n)) for n in range(30)]

    for user, headers in seen.items():
        assert isinstance(headers, dict)
        assert (headers["x-user"], headers["x-key"], headers["authorization"]) == (
            user,
            "k-planted-key-1",
            "Bearer token",
        )
    assert isinstance(without, dict)
    assert set(without) == {"pid"}
    assert health == ("http, connections of 2 users", "http, 11 tools")  # the one who rested longest made room
    assert [one.result() for one in sums] == [2 * n for n in range(30)]
    assert "planted-key-1" not in repr(lines)


async def test_a_server_that_is_killed_and_comes_again_is_called_again(tmp_path: Path) -> None:
    async with served() as (url, process):
        port = int(url.split(":")[2].split("/")[0])
        async with kept(at(url)) as client:
            tools = await tools_of(client)
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(refused(tools["small_wait"], file=str(tmp_path / "state")))
                await until(lambda: says(tmp_path / "state", "begun"))
                process.kill()
                await process.wait()
            away = await refused(tools["small_add"], a=1, b=2)
            without = await tools_of(client)
            async with served(port):
                await until(lambda: offers(client, "small_add"))
                again = await call(tools["small_add"], a=1, b=2)

    assert "went away during the call" in waiting.result()
    assert away.startswith("The MCP server small is not there: ")
    assert without == {}
    assert again == 3


async def test_what_is_no_mcp_server_is_said_to_be_none() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi")
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, kept(at(f"http://127.0.0.1:{port}/mcp")) as client:
        assert await tools_of(client) == {}
        with pytest.raises(NotWell, match="http: it does not speak with us: Unexpected content type: text/html"):
            await client.health("small")


async def test_a_private_address_is_called_where_the_entry_allows_it_alone() -> None:
    calls = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        calls += 1
        del reader
        writer.close()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with (
        listener,
        kept(*(at(f"http://{host}:{port}/", name, private_addresses=False) for name, host in _LOCAL.items())) as client,
    ):
        assert await tools_of(client) == {}
        for name in _LOCAL:
            with pytest.raises(NotWell, match="is at an address that is not public"):
                await client.health(name)

    assert calls == 0


_LOCAL = {"literal": "127.0.0.1", "named": "localhost", "mapped": "[::ffff:127.0.0.1]"}
