"""An exchange over HTTP: both messages come back, and the model sees what was said before."""

import httpx
import pytest

from tests.http.calls import as_, fields_of, history, open_chat, say, somebody, write


def test_an_exchange_answers_with_both_messages_and_stores_them(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    answer = say(client, owner, chat_id, "hello")

    question, reply = answer.json()
    assert answer.status_code == 201
    assert (question["role"], question["content"], question["status"]) == ("user", "hello", "complete")
    assert (reply["role"], reply["content"], reply["status"]) == ("assistant", "You said: hello (turn 1)", "complete")
    assert history(client, owner, chat_id) == [question, reply]


def test_the_second_exchange_has_the_first_in_its_prompt(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    say(client, owner, chat_id, "my name is Ann")

    _, reply = say(client, owner, chat_id, "who am I?").json()

    assert reply["content"] == "You said: who am I? (turn 2; the first thing you said: my name is Ann)"


def test_a_message_that_was_written_is_in_the_prompt_too(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    write(client, owner, chat_id, "imported")

    _, reply = say(client, owner, chat_id, "and now?").json()

    assert reply["content"].endswith("the first thing you said: imported)")


def test_a_message_that_is_left_out_is_not_in_the_prompt(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    secret, _ = say(client, owner, chat_id, "a secret").json()
    say(client, owner, chat_id, "no secret")
    client.put(f"/api/v1/messages/{secret['id']}", json={"in_prompt": False}, headers=as_(owner))

    _, reply = say(client, owner, chat_id, "what did I say?").json()

    assert reply["content"] == "You said: what did I say? (turn 2; the first thing you said: no secret)"


def test_a_chat_asks_the_agent_it_was_given(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]

    _, reply = say(client, owner, chat_id, "hello").json()
    client.put(f"/api/v1/chats/{chat_id}", json={"agent": None}, headers=as_(owner))
    _, other = say(client, owner, chat_id, "again").json()

    assert reply["content"] == "hello"
    assert other["content"] == "You said: again (turn 2; the first thing you said: hello)"


def test_the_fields_of_the_original_are_taken(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, agent="echo")["id"]
    body = {"content": "hello", "chat_id": chat_id, "role": "user", "run_mode": "sync"}

    answer = client.post(f"/api/v1/messages/{chat_id}/exchange", json=body, headers=as_(owner))

    assert answer.status_code == 201


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"chat_id": 2**62}, "chat_id"),
        ({"role": "assistant"}, "role"),
        ({"role": "nobody"}, "role"),
        ({"content": "x" * 100_001}, "content"),
        ({"content": "a\0b"}, "content"),
        ({"content": None}, "content"),
        ({"temperature": 2}, "temperature"),
        ({"timeout_s": 0}, "timeout_s"),
        ({"timeout_s": 301}, "timeout_s"),
        ({"timeout_s": "5"}, "timeout_s"),
        ({"run_mode": "background", "on_disconnect": "cancel"}, "on_disconnect"),
    ],
)
def test_a_body_that_contradicts_or_asks_too_much_is_refused(
    client: httpx.Client, extra: dict[str, object], field: str
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    answer = client.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": "hello", **extra}, headers=as_(owner))

    assert answer.status_code == 400
    assert fields_of(answer) == [field]
    assert history(client, owner, chat_id) == []


def test_an_admin_reads_a_chat_but_does_not_speak_in_it(client: httpx.Client) -> None:
    """The answer would be made with the admin's rights, and look like the owner's."""
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    answer = client.post(
        f"/api/v1/messages/{chat_id}/exchange", json={"content": "hello"}, headers=as_(somebody(), "admin")
    )

    assert (answer.status_code, answer.json()["type"]) == (404, "chat-not-found")
    assert history(client, owner, chat_id) == []


def test_a_deleted_chat_takes_no_exchange(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    client.delete(f"/api/v1/chats/{chat_id}", headers=as_(owner))

    answer = say(client, owner, chat_id, "hello")

    assert (answer.status_code, answer.json()["type"]) == (404, "chat-not-found")


def test_what_does_not_fit_into_the_models_window_is_refused_and_the_chat_goes_on(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    too_long = say(client, owner, chat_id, "word " * 19_999)
    after = say(client, owner, chat_id, "shorter")

    assert (too_long.status_code, too_long.json()["type"]) == (413, "turn-too-long")
    assert (after.status_code, after.json()[1]["content"]) == (201, "You said: shorter (turn 1)")
