"""A server at an address: whose headers go, and what becomes of it when it is gone and comes again."""

import asyncio
import json
from contextlib import closing
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.agents.mcp_client import connection as connection_module
from app.agents.mcp_client import pace
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
                # one whose own token is at hand, and others in whose name a run acts
                caller = replace(a_caller(user), credential="own-token-of-7" if user == "7" else "")
                tools = await tools_of(client, "small", caller=caller)
                seen[user] = await call(tools["small_who_am_i"], caller=caller)
            bare = await tools_of(client, "bare")
            without = await call(bare["bare_who_am_i"])
            health = await client.health("small"), await client.health("bare")
            async with asyncio.TaskGroup() as group:
                sums = [group.create_task(call(bare["bare_add"], a=n, b=n)) for n in range(30)]
            monkeypatch.setattr(connection_module, "IDLE_S", -1)
            client._forget_idle()
            idle = await client.health("small")
            nine = replace(a_caller("9"), credential="")
            again = await call((await tools_of(client, "small", caller=nine))["small_add"], caller=nine, a=1, b=1)

    for user, headers in seen.items():
        assert isinstance(headers, dict)
        assert headers["x-user"] == user
        assert headers["x-key digest"] == sha256(b"k-planted-key-1").hexdigest()
        sent = "own-token-of-7" if user == "7" else f"run-token-of-{user}"
        assert headers["authorization digest"] == sha256(f"Bearer {sent}".encode()).hexdigest()
        assert (headers["x-key"], headers["authorization"]) == ("[redacted]", "Bearer [redacted]")
    assert isinstance(without, dict)
    assert set(without) == {"pid"}
    assert health == ("http, connections of 2 users", "http, 11 tools")  # the one who rested longest made room
    assert [one.result() for one in sums] == [2 * n for n in range(30)]
    assert (idle, again) == ("http, connections of 0 users", 2)
    assert "planted-key-1" not in repr(lines)


async def test_a_server_that_is_killed_and_comes_again_is_called_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "PATIENCE_S", -1)
    monkeypatch.setattr(pace, "LONGEST_PAUSE_S", 0.1)
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


async def test_a_cancelled_call_is_cancelled_there_and_a_server_that_goes_away_while_nobody_calls_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "RELIST_S", 0.05)
    async with served() as (url, process), kept(at(url)) as client:
        tools = await tools_of(client)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(call(tools["small_wait"], file=str(tmp_path / "state")))
            await until(lambda: says(tmp_path / "state", "begun"))
            waiting.cancel()

        await until(lambda: says(tmp_path / "state", "cancelled"))
        assert await call(tools["small_add"], a=1, b=2) == 3
        process.kill()

        await until(lambda: client._connections["small", None].trouble != "")

        with pytest.raises(NotWell):
            await client.health("small")


async def test_what_is_no_mcp_server_is_said_to_be_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PATIENCE_S", -1)

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


async def test_a_session_a_server_has_forgotten_costs_no_call() -> None:
    sessions: list[str] = []
    calls: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r")[0] or 0)
            message = json.loads(await reader.readexactly(length) or "{}")
            shown = head.partition("mcp-session-id: ")[2].partition("\r")[0]
            status, body, more = _answer_of_old(message, shown, sessions, calls)
            text = json.dumps(body).encode() if body else b""
            more += f"content-type: application/json\r\ncontent-length: {len(text)}\r\nconnection: close"
            writer.write(f"HTTP/1.1 {status} X\r\n{more}\r\n\r\n".encode() + text)
            await writer.drain()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    async with listener, kept(at(f"http://127.0.0.1:{port}/", "old")) as client:
        tools = await tools_of(client)
        first = await call(tools["old_greet"])
        sessions.append("another")  # it was restarted: it knows those it gives from now on
        second = await call(tools["old_greet"])

    assert (first, second) == ("hello", "hello")
    assert calls == ["s0", "s2"]


def _answer_of_old(
    message: dict[str, Any], shown: str, sessions: list[str], calls: list[str]
) -> tuple[int, dict[str, Any], str]:
    """Answer as a server of 2025-06-18 does, which knows the session it gave last."""
    method = message.get("method")
    result: dict[str, Any] = {}
    more = ""
    if method == "initialize":
        more = f"mcp-session-id: s{len(sessions)}\r\n"
        sessions.append(f"s{len(sessions)}")
        result = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "old", "version": "1"},
        }
    elif not shown:
        return 400, {}, more
    elif shown != sessions[-1]:
        return 404, {}, more
    elif method is None:
        return 405, {}, more
    elif "id" not in message:
        return 202, {}, more
    elif method == "tools/list":
        result = {"tools": [{"name": "greet", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call":
        calls.append(shown)
        result = {"content": [{"type": "text", "text": "hello"}]}
    return 200, {"jsonrpc": "2.0", "id": message["id"], "result": result}, more


async def test_a_private_address_is_called_where_the_entry_allows_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection_module, "PATIENCE_S", -1)
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
