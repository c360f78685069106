"""Chats over HTTP: opened, read, changed, deleted, brought back; by their owner, or by an admin."""

from datetime import datetime, timedelta

import httpx
import pytest

from tests.http.calls import as_, fields_of, history, open_chat, somebody, write

CHAT_FIELDS = {
    *("id", "user_id", "title", "agent", "metadata", "created_at", "updated_at", "deleted_at", "context", "branch")
}


def test_a_chat_is_opened_for_whoever_asks(client: httpx.Client) -> None:
    owner = somebody()

    answer = client.post(
        "/api/v1/chats/", json={"title": "Plans", "agent": "echo", "metadata": {"a": [1, None]}}, headers=as_(owner)
    )

    chat = answer.json()
    assert answer.status_code == 201
    assert set(chat) == CHAT_FIELDS
    assert (chat["user_id"], chat["title"], chat["agent"]) == (owner, "Plans", "echo")
    assert (chat["metadata"], chat["deleted_at"]) == ({"a": [1, None]}, None)
    assert datetime.fromisoformat(chat["created_at"]).utcoffset() == timedelta()


def test_a_chat_needs_nothing_but_braces(client: httpx.Client) -> None:
    chat = open_chat(client, somebody())

    assert (chat["title"], chat["agent"], chat["metadata"]) == (None, None, {})


def test_a_change_leaves_what_it_does_not_name(client: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(client, owner, title="Old", metadata={"kept": True})

    changed = client.put(f"/api/v1/chats/{chat['id']}", json={"title": "New"}, headers=as_(owner))
    read = client.get(f"/api/v1/chats/{chat['id']}", headers=as_(owner))

    assert changed.status_code == 200
    assert (changed.json()["title"], changed.json()["metadata"]) == ("New", {"kept": True})
    assert read.json() == changed.json()


def test_a_null_title_empties_it(client: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(client, owner, title="Old")

    changed = client.put(f"/api/v1/chats/{chat['id']}", json={"title": None}, headers=as_(owner))

    assert changed.json()["title"] is None


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_an_unknown_agent_is_refused_with_the_ones_there_are(client: httpx.Client, method: str) -> None:
    owner = somebody()
    path = f"/api/v1/chats/{open_chat(client, owner)['id']}" if method == "PUT" else "/api/v1/chats/"

    answer = client.request(method, path, json={"agent": "nobody"}, headers=as_(owner))

    assert answer.status_code == 400
    assert fields_of(answer) == ["agent"]
    assert "assistant" in answer.json()["errors"][0]["message"]


def test_a_deleted_chat_is_gone_with_its_messages(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    message_id = write(client, owner, chat_id, "hello")["id"]

    deleted = client.delete(f"/api/v1/chats/{chat_id}", headers=as_(owner))

    assert (deleted.status_code, deleted.content) == (204, b"")
    paths = [f"/api/v1/chats/{chat_id}", f"/api/v1/chats/{chat_id}/messages", f"/api/v1/messages/{message_id}"]
    assert [client.get(path, headers=as_(owner)).status_code for path in paths] == [404, 404, 404]
    assert client.delete(f"/api/v1/chats/{chat_id}", headers=as_(owner)).status_code == 404
    assert client.get("/api/v1/chats/", headers=as_(owner)).json()["total"] == 0
    listed = client.get(f"/api/v1/messages/?chat_id={chat_id}", headers=as_(owner, "manager"))
    assert listed.json()["total"] == 0


def test_a_restored_chat_has_the_set_of_messages_it_had(client: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(client, owner, title="Plans")
    first, second, third = (write(client, owner, chat["id"], text)["id"] for text in ("one", "two", "three"))
    client.delete(f"/api/v1/messages/{second}", headers=as_(owner))
    before = history(client, owner, chat["id"])
    client.delete(f"/api/v1/chats/{chat['id']}", headers=as_(owner))

    restored = client.post(f"/api/v1/chats/{chat['id']}/restore", headers=as_(owner))

    assert restored.status_code == 200
    assert (restored.json()["title"], restored.json()["deleted_at"]) == ("Plans", None)
    assert history(client, owner, chat["id"]) == before
    assert [message["id"] for message in before] == [first, third]


def test_restoring_a_live_chat_changes_nothing(client: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(client, owner)

    restored = client.post(f"/api/v1/chats/{chat['id']}/restore", headers=as_(owner))

    assert (restored.status_code, restored.json()) == (200, chat)


def test_nobody_else_restores_a_deleted_chat(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    client.delete(f"/api/v1/chats/{chat_id}", headers=as_(owner))

    answer = client.post(f"/api/v1/chats/{chat_id}/restore", headers=as_(somebody()))

    assert answer.status_code == 404
    assert client.get(f"/api/v1/chats/{chat_id}", headers=as_(owner)).status_code == 404


def test_an_admin_touches_everybodys_chats(client: httpx.Client) -> None:
    owner, admin = somebody(), as_(somebody(), "admin")
    chat_id = open_chat(client, owner)["id"]
    message_id = write(client, owner, chat_id, "hello")["id"]

    statuses = [
        client.get(f"/api/v1/chats/{chat_id}", headers=admin).status_code,
        client.put(f"/api/v1/chats/{chat_id}", json={"title": "Seen"}, headers=admin).status_code,
        client.get(f"/api/v1/chats/{chat_id}/messages", headers=admin).status_code,
        client.get(f"/api/v1/messages/{message_id}", headers=admin).status_code,
        client.put(f"/api/v1/messages/{message_id}", json={"content": "bye"}, headers=admin).status_code,
        client.delete(f"/api/v1/messages/{message_id}", headers=admin).status_code,
        client.delete(f"/api/v1/chats/{chat_id}", headers=admin).status_code,
        client.post(f"/api/v1/chats/{chat_id}/restore", headers=admin).status_code,
    ]

    assert statuses == [200, 200, 200, 200, 200, 204, 204, 200]
    assert client.get(f"/api/v1/chats/{chat_id}", headers=as_(owner)).json()["title"] == "Seen"


def test_a_manager_is_no_admin(client: httpx.Client) -> None:
    chat_id = open_chat(client, somebody())["id"]

    assert client.get(f"/api/v1/chats/{chat_id}", headers=as_(somebody(), "manager")).status_code == 404


def test_only_an_admin_opens_a_chat_for_somebody_else(client: httpx.Client) -> None:
    owner = somebody()

    by_another = client.post("/api/v1/chats/", json={"user_id": owner}, headers=as_(somebody()))
    by_admin = client.post("/api/v1/chats/", json={"user_id": owner}, headers=as_(somebody(), "admin"))

    assert (by_another.status_code, by_another.json()["type"]) == (403, "forbidden")
    assert (by_admin.status_code, by_admin.json()["user_id"]) == (201, owner)
    assert client.get(f"/api/v1/chats/{by_admin.json()['id']}", headers=as_(owner)).status_code == 200


def test_a_numeric_user_id_is_its_digits(client: httpx.Client) -> None:
    chat = client.post("/api/v1/chats/", json={"user_id": 7}, headers=as_("7")).json()

    assert chat["user_id"] == "7"


def test_a_person_lists_their_own_chats_and_an_admin_those_of_anyone(client: httpx.Client) -> None:
    one, other, admin = somebody(), somebody(), as_(somebody(), "admin")
    mine, theirs = open_chat(client, one)["id"], open_chat(client, other)["id"]

    own = client.get("/api/v1/chats/", headers=as_(one)).json()
    everybodys = client.get(f"/api/v1/chats/?ids={mine},{theirs}", headers=admin).json()
    of_one = client.get(f"/api/v1/chats/?user_id={other}", headers=admin).json()
    foreign = client.get(f"/api/v1/chats/?user_id={other}", headers=as_(one))

    assert [chat["id"] for chat in own["items"]] == [mine]
    assert {chat["id"] for chat in everybodys["items"]} == {mine, theirs}
    assert [chat["id"] for chat in of_one["items"]] == [theirs]
    assert (foreign.status_code, foreign.json()["type"]) == (403, "forbidden")
