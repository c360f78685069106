"""`/mcp` with the official client: each tool does what it says, and says no in words."""

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from mcp.client.client import ConnectMode
from mcp.shared.exceptions import MCPError

from app.agents.factory import AgentFactory
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, history, make_key, open_chat, somebody, withdraw, write
from tests.http.mcp_client import ERAS, mcp_client, refused, use
from tests.http.moody import Moody
from tests.http.running import an_approval
from tests.http.streams import read_run

FOR_ADMINS = {
    "system_config", "set_environment", "install_agent_templates", "backup", "list_backups", "restore",
}  # fmt: skip
FOR_ALL = {
    "list_agents", "get_agent", "validate_agents", "run_agent_stateless", "run_agent_in_chat", "start_session",
    "read_chat", "clear_chat", "unclear_chat", "list_runs", "get_run", "cancel_run", "list_approvals",
    "decide_approval", "system_status",
}  # fmt: skip
SECRETS: dict[str, Any] = {  # Any: settings of whatever type
    "smtp_password": "planted-smtp-password",
    "telegram_bot_token": "planted:telegram-token",
    "slack_webhook_url": "https://hooks.slack.example/planted-slack",
    "notification_secret": "planted-notification-secret-of-32-characters",
    "secrets_key": base64.b64encode(b"planted-secret-key-of-32-bytes!!").decode(),
    "agenda_service_url": "http://planted-name:planted-word@agenda.example/api?planted=query",
}


@pytest.fixture(scope="module")
def agents_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("agents")


@pytest.fixture(scope="module")
def gateway_url(
    migrated_dsn: str, agent: Moody, agents_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    settings = some_settings(folder, dsn=migrated_dsn, agents_dir=agents_dir, **SECRETS)
    with running_gateway(settings, agent.provider()) as url:
        yield url


@pytest.mark.parametrize("mode", ERAS)
async def test_the_official_client_lists_the_tools_of_its_role(gateway_url: str, mode: ConnectMode) -> None:
    async with mcp_client(gateway_url, somebody(), mode=mode) as client:
        listed = await client.list_tools()
    async with mcp_client(gateway_url, "root", "admin", mode=mode) as client:
        of_admin = await client.list_tools()

    assert {tool.name for tool in listed.tools} == FOR_ALL
    assert {tool.name for tool in of_admin.tools} == FOR_ALL | FOR_ADMINS
    assert all(tool.description and tool.input_schema["type"] == "object" for tool in of_admin.tools)


@pytest.mark.parametrize("mode", ["auto", *ERAS])
async def test_agents_are_listed_told_of_and_validated(gateway_url: str, mode: ConnectMode) -> None:
    async with mcp_client(gateway_url, somebody(), mode=mode) as client:
        listed = await use(client, "list_agents")
        one = await use(client, "get_agent", name="moody")
        valid = await use(client, "validate_agents")
        missing = await refused(client, "get_agent", name="nobody")

    assert [agent["name"] for agent in listed["items"]] == ["moody"]
    assert listed["default"] == one["name"] == "moody"
    assert valid == {"valid": True, "checked": 1, "problems": []}
    assert missing.startswith("agent-not-found: There is no agent of this name; there are: moody")


async def test_an_agent_is_run_alone(gateway_url: str) -> None:
    async with mcp_client(gateway_url, somebody()) as client:
        done = await use(client, "run_agent_stateless", prompt="hello", agent="moody")
        failed = await refused(client, "run_agent_stateless", prompt="refuse")
        unknown = await refused(client, "run_agent_stateless", prompt="hello", agent="nobody")
        flaw = await refused(client, "run_agent_stateless", prompt=7, colour="red")

    assert (done["answer"], done["run"]["status"]) == ("hello, after: nothing", "completed")
    assert "agent-failed: The agent refused." in failed
    assert unknown.startswith("validation-failed")
    assert flaw.startswith("validation-failed")


async def test_what_takes_longer_goes_on_as_a_run_and_is_cancelled(
    gateway_url: str, agent: Moody, thinking: object
) -> None:
    other = somebody()
    async with mcp_client(gateway_url, somebody()) as client:
        begun = await use(client, "run_agent_stateless", prompt="think", timeout_s=0.2)
        run_id = begun["run"]["id"]
        listed = await use(client, "list_runs", status="running")
        stopped = await use(client, "cancel_run", run_id=run_id)
        again = await use(client, "get_run", run_id=run_id)
        not_theirs = await refused(client, "list_runs", user_id=other)
    async with mcp_client(gateway_url, other) as client:
        unseen = [await refused(client, name, run_id=run_id) for name in ("get_run", "cancel_run")]

    assert begun["answer"] is None
    assert "get_run" in begun["hint"]
    assert [run["id"] for run in listed["items"]] == [run_id]
    assert stopped["status"] == again["status"] == "interrupted"
    assert not_theirs.startswith("forbidden")
    assert all(words.startswith("run-not-found") for words in unseen)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_session_remembers_until_it_is_cleared(gateway_url: str, mode: ConnectMode) -> None:
    async with mcp_client(gateway_url, somebody(), mode=mode) as client:
        chat_id = (await use(client, "start_session", agent="moody", title="A talk"))["id"]
        first = await use(client, "run_agent_in_chat", chat_id=chat_id, content="one")
        second = await use(client, "run_agent_in_chat", chat_id=chat_id, content="two")
        cleared = await use(client, "clear_chat", chat_id=chat_id)
        read = await use(client, "read_chat", chat_id=chat_id)
        third = await use(client, "run_agent_in_chat", chat_id=chat_id, content="three")
        undone = await use(client, "unclear_chat", chat_id=chat_id, cleared_at=cleared["cleared_at"])
        fourth = await use(client, "run_agent_in_chat", chat_id=chat_id, content="four")

    assert first["answer"] == "one, after: nothing"
    assert second["answer"] == "two, after: one"
    assert cleared["messages"] == undone["messages"] == 4
    assert [message["content"] for message in read["items"]][::2] == ["one", "two"]
    assert third["answer"] == "three, after: nothing"
    assert fourth["answer"] == "four, after: one two three"


async def test_somebody_elses_chat_is_not_there(gateway_url: str, client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    write(client, owner, chat_id, "private")

    async with mcp_client(gateway_url, somebody()) as stranger:
        words = [
            await refused(stranger, "read_chat", chat_id=chat_id),
            await refused(stranger, "clear_chat", chat_id=chat_id),
            await refused(stranger, "unclear_chat", chat_id=chat_id, cleared_at="2026-01-01T00:00:00Z"),
            await refused(stranger, "run_agent_in_chat", chat_id=chat_id, content="hello"),
        ]
        unknown = await refused(stranger, "start_session", agent="nobody")

    assert all(one.startswith("chat-not-found") for one in words)
    assert unknown.startswith("validation-failed")
    assert history(client, owner, chat_id)[0]["in_prompt"]


async def test_an_approval_is_listed_and_decided_once(gateway_url: str, migrated_dsn: str) -> None:
    owner = somebody()
    approval_id = str(await asyncio.to_thread(an_approval, migrated_dsn, owner))

    async with mcp_client(gateway_url, owner) as client:
        waiting = await use(client, "list_approvals")
        decided = await use(client, "decide_approval", approval_id=approval_id, decision="deny", reason="no")
        again = await refused(client, "decide_approval", approval_id=approval_id, decision="approve")
        unknown = await refused(client, "decide_approval", approval_id=str(uuid4()), decision="approve")
        flaw = await refused(client, "list_approvals", status="maybe")

    assert [one["id"] for one in waiting["items"]] == [approval_id]
    assert (decided["status"], decided["reason"]) == ("denied", "no")
    assert again.startswith("approval-decided")
    assert unknown.startswith("approval-not-found")
    assert flaw.startswith("validation-failed")


async def test_the_status_has_details_for_staff_only(gateway_url: str) -> None:
    async with mcp_client(gateway_url, somebody()) as client:
        for_user = await use(client, "system_status")
        flaw = await refused(client, "system_status", of="everything")
    async with mcp_client(gateway_url, "boss", "manager") as client:
        for_staff = await use(client, "system_status")

    assert for_user["status"] == "ok"
    assert {one["details"] for one in for_user["deps"]} == {None}
    assert any(one["details"] for one in for_staff["deps"])
    assert flaw.startswith("validation-failed")


async def test_the_configuration_is_shown_without_a_secret(gateway_url: str, migrated_dsn: str) -> None:
    async with mcp_client(gateway_url, "root", "admin") as client:
        shown = await use(client, "system_config")

    text = str(shown)
    assert "planted" not in text
    assert migrated_dsn not in text
    assert SECRETS["secrets_key"] not in text
    assert (shown["mode"], shown["smtp_password"], shown["agenda_service_url"]) == (
        "TEST", "(set)", "http://agenda.example/api",
    )  # fmt: skip


async def test_the_environment_is_refused_with_where_it_is_set(gateway_url: str) -> None:
    async with mcp_client(gateway_url, "root", "admin") as client:
        words = await refused(client, "set_environment", name="log_level", value="10")

    assert words.startswith("environment-is-the-operators")
    assert "LOG_LEVEL in .env" in words


async def test_templates_are_installed_once_and_what_is_there_is_kept(gateway_url: str, agents_dir: Path) -> None:
    async with mcp_client(gateway_url, "root", "admin") as client:
        first = await use(client, "install_agent_templates", names=["reviewer"])
        (agents_dir / "reviewer.py").write_text("# mine\n")
        rest = await use(client, "install_agent_templates")
        unknown = await refused(client, "install_agent_templates", names=["../evil"])

    assert (first["installed"], first["kept"]) == (["reviewer"], [])
    assert (rest["installed"], rest["kept"]) == (["planner", "support"], ["reviewer"])
    assert (agents_dir / "reviewer.py").read_text() == "# mine\n"
    assert unknown.startswith("validation-failed")
    (agents_dir / "reviewer.py").unlink()
    assert {"planner", "support"} <= AgentFactory.discover(installed=(), folder=agents_dir).agents.keys()


async def test_a_backup_is_made_listed_and_brought_back(gateway_url: str, client: httpx.Client) -> None:
    open_chat(client, somebody())

    async with mcp_client(gateway_url, "root", "admin") as admin:
        made = await use(admin, "backup")
        listed = await use(admin, "list_backups")
        back = await use(admin, "restore", name=made["name"])
        missing = await refused(admin, "restore", name="portico-20260101T000000Z-00000000.zip")
        elsewhere = await refused(admin, "restore", name="../../etc/passwd")
        flaw = await refused(admin, "backup", file="/etc/passwd")

    assert made["rows"]["chats"] >= 1
    assert made["name"] in [one["name"] for one in listed["items"]]
    assert back["tables"]["chats"] == {"restored": 0, "same": made["rows"]["chats"], "newer": 0}
    assert missing.startswith("backup-not-found")
    assert elsewhere.startswith("backup-not-found")
    assert flaw.startswith("validation-failed")


@pytest.mark.parametrize("name", sorted(FOR_ADMINS))
@pytest.mark.parametrize("mode", ERAS)
async def test_a_tool_for_others_is_as_unknown_as_one_that_is_not_there(
    gateway_url: str, mode: ConnectMode, name: str
) -> None:
    async with mcp_client(gateway_url, somebody(), mode=mode) as client:
        with pytest.raises(MCPError, match=f"Unknown tool: {name}"):
            await client.call_tool(name, {})
        with pytest.raises(MCPError, match="Unknown tool: no_such"):
            await client.call_tool("no_such", {})


@pytest.mark.parametrize("mode", ERAS)
async def test_without_a_token_the_client_is_refused(gateway_url: str, mode: ConnectMode) -> None:
    with pytest.raises(BaseExceptionGroup) as failed:
        async with mcp_client(gateway_url, "", mode=mode, headers={}) as client:
            await client.list_tools()

    assert "401" in str(failed.value.exceptions) or failed.group_contains(MCPError)


@pytest.mark.parametrize("mode", ERAS)
async def test_an_api_key_opens_the_door_for_its_owner(
    gateway_url: str, client: httpx.Client, mode: ConnectMode
) -> None:
    key = make_key(client, owner := somebody(), scopes=["/mcp"])["key"]

    async with mcp_client(gateway_url, "", mode=mode, headers=carrying(key)) as holder:
        listed = await holder.list_tools()
        done = await use(holder, "run_agent_stateless", prompt="hello", agent="moody")

    assert {tool.name for tool in listed.tools} == FOR_ALL
    assert done["answer"] == "hello, after: nothing"
    assert read_run(client, owner, done["run"]["id"])["status"] == "completed"


@pytest.mark.parametrize("mode", ERAS)
async def test_a_key_that_is_wrong_withdrawn_or_for_other_doors_is_refused(
    gateway_url: str, client: httpx.Client, mode: ConnectMode
) -> None:
    keys = keys_that_open_nothing(client)

    refused_to = [await is_refused(gateway_url, key, mode) for key in keys]
    answers = [pinged(client, key) for key in keys]

    assert refused_to == [True] * 4
    assert [status for status, _ in answers] == [401, 401, 401, 403]
    assert answers[-1][1] == "scope-not-granted"


def keys_that_open_nothing(client: httpx.Client) -> list[str]:
    """Make one that never was, one that was deleted, one whose owner was shut out, and one for another door."""
    deleted = make_key(client, gone := somebody())
    client.delete(f"/api/v1/keys/{deleted['id']}", headers=as_(gone))
    shut_out = make_key(client, person := somebody())
    withdraw(client, sub=person)
    narrow = make_key(client, somebody(), scopes=["/v1"])
    return ["ptk_" + "0" * 32 + "_" + "0" * 64, deleted["key"], shut_out["key"], narrow["key"]]


async def is_refused(url: str, key: str, mode: ConnectMode) -> bool:
    try:
        async with mcp_client(url, "", mode=mode, headers=carrying(key)) as client:
            await client.list_tools()
    except (ExceptionGroup, MCPError):  # whatever the client makes of a refusal; the wire is looked at beside it
        return True
    return False


def pinged(client: httpx.Client, key: str) -> tuple[int, str]:
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    answer = client.post("/mcp", json=body, headers={**carrying(key), "accept": "application/json, text/event-stream"})
    return answer.status_code, answer.json().get("type", "")


def carrying(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}
