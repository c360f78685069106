"""Exchanges with files: what reaches the model in its provider's language, what is told of them, and what is kept."""

import asyncio
import base64
import json
from collections.abc import Iterator
from uuid import uuid4

import asyncpg
import httpx
import pytest
from pydantic_ai.models import override_allow_model_requests

from tests.builders import some_settings
from tests.files import PDF, PNG, TEXT
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, attach, fields_of, history, open_chat, say, somebody
from tests.http.streams import a_socket
from tests.model_server import ModelServer, running_model_server
from tests.model_server.providers import PROVIDERS

PATH = "/api/v1/attachments"
WORDS = "Compare these."
SHOWN_TEXT = f"[attached: list.txt, text/plain]\n{TEXT.decode()}\n[end of list.txt]"


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@pytest.fixture(params=["openai chat", "anthropic"])
def asked(
    request: pytest.FixtureRequest, server: ModelServer, migrated_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[httpx.Client]:
    """A gateway whose model is this provider's."""
    provider = PROVIDERS[request.param]
    for variable, value in provider.environ(server).items():
        monkeypatch.setenv(variable, value)
    server.begin_afresh()
    folder = request.getfixturevalue("tmp_path")
    settings = some_settings(folder, dsn=migrated_dsn, default_model=provider.model)
    with running_gateway(settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def show(client: httpx.Client, owner: str, chat_id: int, words: str, *ids: str) -> httpx.Response:
    body = {"content": words, "attachments": ids}
    return client.post(f"/api/v1/messages/{chat_id}/exchange", json=body, headers=as_(owner))


def blocks(server: ModelServer, turn: int = -1) -> list[Json]:
    """What the last message of the user was made of, without what only steers a cache."""
    said = [message for message in server.requests[turn].body["messages"] if message["role"] == "user"][-1]
    return [{key: value for key, value in block.items() if key != "cache_control"} for block in said["content"]]


def as_sent(server: ModelServer, content: bytes, media_type: str) -> Json:
    """A file in the provider's language."""
    data = base64.b64encode(content).decode()
    if "anthropic-version" in server.requests[-1].headers:
        source = {"data": data, "media_type": media_type, "type": "base64"}
        return {"source": source, "type": "document" if media_type == "application/pdf" else "image"}
    uri = f"data:{media_type};base64,{data}"
    if media_type == "application/pdf":
        return {"type": "file", "file": {"file_data": uri, "filename": "filename.pdf"}}
    return {"type": "image_url", "image_url": {"url": uri}}


def rows_that_hold(dsn: str, content: bytes) -> list[str]:
    """Every table of runs, steps, events and messages in which a file's bytes stand, in whatever spelling."""
    data = base64.b64encode(content).decode().rstrip("=")
    spelt = (data[:-4], data.replace("+", "-").replace("/", "_")[:-4], content.hex())

    async def find() -> list[str]:
        connection = await asyncpg.connect(dsn.replace("+asyncpg", ""), server_settings={"search_path": "portico"})
        try:
            names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            return [
                name
                for (name,) in names
                for one in spelt
                if await connection.fetchval(f'SELECT count(*) FROM "{name}" t WHERE strpos(t::text, $1) > 0', one)
            ]
        finally:
            await connection.close()

    return asyncio.run(find())


def test_a_model_is_shown_an_image_a_pdf_and_a_text(
    asked: httpx.Client, server: ModelServer, migrated_dsn: str
) -> None:
    owner = somebody()
    chat_id = open_chat(asked, owner)["id"]
    picture = PNG + uuid4().bytes * 4
    ids = [
        attach(asked, owner, content, name)["id"]
        for content, name in ((picture, "a.png"), (PDF, "b.pdf"), (TEXT, "list.txt"))
    ]
    server.script(["They differ."], ["As I said."])

    answer = show(asked, owner, chat_id, WORDS, *ids)
    again = say(asked, owner, chat_id, "And again?")

    assert (answer.status_code, again.status_code) == (201, 201), answer.text
    question, reply = answer.json()
    assert reply["content"] == "They differ."
    assert [(one["id"], one["name"], one["media_type"]) for one in question["attachments"]] == [
        (ids[0], "a.png", "image/png"), (ids[1], "b.pdf", "application/pdf"), (ids[2], "list.txt", "text/plain"),
    ]  # fmt: skip
    assert reply["attachments"] == []
    assert history(asked, owner, chat_id)[0] == question
    expected = [
        {"type": "text", "text": "[attached: a.png]"},
        as_sent(server, picture, "image/png"),
        {"type": "text", "text": "[attached: b.pdf]"},
        as_sent(server, PDF, "application/pdf"),
        {"type": "text", "text": SHOWN_TEXT},
        {"type": "text", "text": WORDS},
    ]
    assert blocks(server, 0) == expected
    (earlier, *_) = [message for message in server.requests[1].body["messages"] if message["role"] == "user"]
    assert [
        {key: value for key, value in block.items() if key != "cache_control"} for block in earlier["content"]
    ] == expected
    assert rows_that_hold(migrated_dsn, picture) == ["attachment_blobs"]
    kept = asked.get(f"/api/v1/runs/{question['run_id']}/events", headers=as_(owner)).text
    assert base64.b64encode(picture).decode() not in kept


def test_a_model_is_told_no_more_than_the_name_of_what_was_deleted(asked: httpx.Client, server: ModelServer) -> None:
    owner = somebody()
    chat_id = open_chat(asked, owner)["id"]
    one = attach(asked, owner, PNG, "a.png")["id"]
    show(asked, owner, chat_id, WORDS, one)
    assert asked.delete(f"{PATH}/{one}", headers=as_(owner)).status_code == 204

    answer = say(asked, owner, chat_id, "What was it?")

    assert answer.status_code == 201
    assert base64.b64encode(PNG).decode() not in json.dumps(server.requests[1].body)
    assert "[attached: a.png]" in json.dumps(server.requests[1].body)
    assert history(asked, owner, chat_id)[0]["attachments"][0]["name"] == "a.png"
    assert asked.get(f"{PATH}/{one}/content", headers=as_(owner)).status_code == 404


def test_what_is_not_ones_own_is_refused_by_its_place(caller: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(caller, owner)["id"]
    own, others = attach(caller, owner, PNG, "a.png")["id"], attach(caller, somebody(), PNG, "a.png")["id"]

    refused = {
        "attachments[1]": show(caller, owner, chat_id, WORDS, own, others),
        "attachments[0]": show(caller, owner, chat_id, WORDS, str(uuid4())),
        "attachments": show(caller, owner, chat_id, WORDS, own, own),
    }
    too_many = show(caller, owner, chat_id, WORDS, *(str(uuid4()) for _ in range(11)))
    no_id = show(caller, owner, chat_id, WORDS, "7")
    admins = caller.post(
        f"/api/v1/messages/{chat_id}/exchange",
        json={"content": WORDS, "attachments": [own]},
        headers=as_(somebody(), "admin"),
    )

    assert {field: (one.status_code, fields_of(one)) for field, one in refused.items()} == {
        field: (400, [field]) for field in refused
    }
    assert (too_many.status_code, fields_of(too_many)) == (400, ["attachments"])
    assert (no_id.status_code, fields_of(no_id)) == (400, ["attachments[0]"])
    assert admins.status_code == 404
    assert history(caller, owner, chat_id) == []


def test_files_are_sent_over_the_socket_of_a_chat_too(caller: httpx.Client, gateway_url: str) -> None:
    owner = somebody()
    chat_id = open_chat(caller, owner)["id"]
    one = attach(caller, owner, TEXT, "list.txt")["id"]

    with a_socket(gateway_url, owner, chat_id) as socket:
        socket.send(type="send", content=WORDS, attachments=[str(uuid4())])
        refused = socket.receive()
        socket.send(type="send", content=WORDS, attachments=[one])
        socket.until("run_completed")
        sent = next(frame for frame in socket.kept if frame["type"] == "sent")

    assert [error["field"] for error in refused["problem"]["errors"]] == ["attachments[0]"]
    assert [file["name"] for file in sent["message"]["attachments"]] == ["list.txt"]
    assert history(caller, owner, chat_id)[1]["content"] == f"You said: {SHOWN_TEXT}\n\n{WORDS} (turn 1)"


def test_a_text_is_shown_to_any_model_and_a_chat_that_is_deleted_keeps_its_files(caller: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(caller, owner)["id"]
    one = attach(caller, owner, TEXT, "list.txt")["id"]

    _, reply = show(caller, owner, chat_id, WORDS, one).json()

    assert reply["content"] == f"You said: {SHOWN_TEXT}\n\n{WORDS} (turn 1)"
    caller.delete(f"/api/v1/chats/{chat_id}", headers=as_(owner))
    assert caller.get(f"{PATH}/{one}/content", headers=as_(owner)).content == TEXT
