"""Messages over HTTP, without an agent: written, read in order, changed, deleted."""

import httpx
import pytest

from tests.http.calls import as_, fields_of, history, open_chat, somebody, write

MESSAGE_FIELDS = {
    "id", "chat_id", "role", "content", "in_prompt", "run_id", "status", "attachments", "created_at", "updated_at",
    "branch", "versions",
}  # fmt: skip


@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_a_message_of_any_role_is_written(client: httpx.Client, role: str) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    message = write(client, owner, chat_id, "hello", role=role)

    assert set(message) == MESSAGE_FIELDS
    assert (message["chat_id"], message["role"], message["content"]) == (chat_id, role, "hello")
    assert (message["in_prompt"], message["status"], message["run_id"]) == (True, "complete", None)
    assert client.get(f"/api/v1/messages/{message['id']}", headers=as_(owner)).json() == message


def test_what_was_said_comes_back_as_it_was_said(client: httpx.Client) -> None:
    owner = somebody()
    text = "Grüße 😀 \u202e\ufeff\t\r\n' OR 1=1 --"

    message = write(client, owner, open_chat(client, owner)["id"], text)

    assert client.get(f"/api/v1/messages/{message['id']}", headers=as_(owner)).json()["content"] == text


def test_a_chat_is_read_in_order_stretch_by_stretch(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    ids = [write(client, owner, chat_id, f"message {number}")["id"] for number in range(5)]

    found: list[int] = []
    after: int | None = 0
    while after is not None:
        answer = client.get(f"/api/v1/chats/{chat_id}/messages?limit=2&after={after}", headers=as_(owner)).json()
        found += [message["id"] for message in answer["items"]]
        after = answer["next"]

    assert found == ids


def test_a_message_is_changed_and_left_out_of_prompts(client: httpx.Client) -> None:
    owner = somebody()
    message = write(client, owner, open_chat(client, owner)["id"], "hello")

    answer = client.put(
        f"/api/v1/messages/{message['id']}", json={"content": "bye", "in_prompt": False}, headers=as_(owner)
    )

    assert answer.status_code == 200
    assert (answer.json()["content"], answer.json()["in_prompt"]) == ("bye", False)


def test_a_deleted_message_is_gone(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    first, second = (write(client, owner, chat_id, text)["id"] for text in ("one", "two"))

    answer = client.delete(f"/api/v1/messages/{first}", headers=as_(owner))

    assert (answer.status_code, answer.content) == (204, b"")
    assert [message["id"] for message in history(client, owner, chat_id)] == [second]
    assert client.put(f"/api/v1/messages/{first}", json={"content": "x"}, headers=as_(owner)).status_code == 404


def test_a_body_that_names_another_chat_contradicts_the_path(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    body = {"role": "user", "content": "hello", "chat_id": chat_id + 1}

    answer = client.post(f"/api/v1/messages/chats/{chat_id}/messages", json=body, headers=as_(owner))

    assert answer.status_code == 400
    assert fields_of(answer) == ["chat_id"]
    assert history(client, owner, chat_id) == []


def test_staff_lists_everybodys_messages(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    message = write(client, owner, chat_id, "hello")

    answer = client.get(f"/api/v1/messages/?chat_id={chat_id}", headers=as_(somebody(), "manager"))

    assert answer.status_code == 200
    assert answer.json() == {"items": [message], "total": 1, "limit": 20, "offset": 0}
