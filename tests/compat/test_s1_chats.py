"""S1 Multi-Agent Service: chats, messages and agents, asked of the running demo (docs/originals.md)."""

import uuid
from pathlib import Path

from tests.compat.conftest import Caller, Fleet
from tests.compat.journeys import (
    CALENDARS,
    CHATS,
    MESSAGES,
    exchange,
    make,
    seen,
)
from tests.e2e.program import PORTICO, becomes_true, free_port, run, running

FAR_AWAY_ID = 2**40


# --- chats


def test_a_chat_is_created(caller: Caller) -> None:
    user = caller(sub="creator")

    chat = make(user, CHATS, title="Plans", agent="echo", metadata={"colour": "blue"})
    for_another = user.post(CHATS, json={"user_id": "other"})
    by_admin = make(caller("admin"), CHATS, user_id=7)

    expected = {"user_id": "creator", "title": "Plans", "agent": "echo", "metadata": {"colour": "blue"}}
    assert chat.items() >= expected.items()
    assert for_another.status_code == 403
    assert by_admin["user_id"] == "7"


def test_a_chat_is_read(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS, title="Plans")

    answer = user.get(f"{CHATS}{chat['id']}")

    assert (answer.status_code, answer.json()) == (200, chat)


def test_a_chat_is_updated(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS, title="Plans", metadata={"a": 1})

    answer = user.put(f"{CHATS}{chat['id']}", json={"title": "Better plans", "metadata": {"b": 2}})

    now = user.get(f"{CHATS}{chat['id']}").json()
    assert answer.status_code == 200
    assert (now["title"], now["metadata"]) == ("Better plans", {"b": 2})


def test_chats_are_listed_own_for_users_and_all_for_admins(caller: Caller) -> None:
    subs = [uuid.uuid4().hex, uuid.uuid4().hex]
    chats = [make(caller(sub=sub), CHATS, title="Listed") for sub in subs]
    ids = ",".join(str(chat["id"]) for chat in chats)

    own = caller(sub=subs[0]).get(CHATS).json()
    everybodys = caller("admin").get(CHATS, params={"ids": ids, "orderBy": "id", "sortOrder": "asc"}).json()
    one_persons = caller("admin").get(CHATS, params={"user_id": subs[1]}).json()

    # but for what is pinned to them, which a list leaves out
    listed = [{name: value for name, value in chat.items() if name != "context"} for chat in chats]
    assert own == {"items": [listed[0]], "total": 1, "limit": 20, "offset": 0}
    assert everybodys["items"] == listed
    assert one_persons["items"] == [listed[1]]


def test_a_deleted_chat_is_gone_until_it_is_restored(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS, agent="echo")
    exchange(user, chat["id"], "Keep this")

    deleted = user.delete(f"{CHATS}{chat['id']}")
    while_gone = [user.get(f"{CHATS}{chat['id']}"), user.get(f"{CHATS}{chat['id']}/messages")]
    restored = user.post(f"{CHATS}{chat['id']}/restore")

    assert deleted.status_code == 204
    assert [answer.status_code for answer in while_gone] == [404, 404]
    assert restored.status_code == 200
    assert len(user.get(f"{CHATS}{chat['id']}/messages").json()["items"]) == 2


def test_another_owner_gets_not_found(caller: Caller) -> None:
    owner, other = caller(), caller()
    chat = make(owner, CHATS, agent="echo")
    message = exchange(owner, chat["id"], "Mine")[0]
    paths = [f"{CHATS}{chat['id']}", f"{CHATS}{chat['id']}/messages", f"{MESSAGES}{message['id']}"]

    answers = [other.get(path) for path in paths]
    answers.append(other.post(f"{MESSAGES}{chat['id']}/exchange", json={"content": "Yours?"}))
    absent = other.get(f"{CHATS}{FAR_AWAY_ID}")

    assert {answer.status_code for answer in answers} == {404}
    assert seen(answers[0]) == seen(absent) == (404, "chat-not-found")


# --- messages


def test_a_chat_keeps_its_messages_in_order(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS, agent="echo")
    for content in ("one", "two", "three"):
        exchange(user, chat["id"], content)

    first = user.get(f"{CHATS}{chat['id']}/messages", params={"limit": 4}).json()
    rest = user.get(f"{CHATS}{chat['id']}/messages", params={"after": first["next"]}).json()

    said = [(message["role"], message["content"]) for message in [*first["items"], *rest["items"]]]
    assert said == [(role, text) for text in ("one", "two", "three") for role in ("user", "assistant")]
    assert rest["next"] is None


def test_messages_are_listed_for_staff_with_filters(caller: Caller) -> None:
    user, word = caller(), uuid.uuid4().hex
    chat = make(user, CHATS, agent="echo")
    exchange(user, chat["id"], f"Say {word}")

    query = {"chat_id": chat["id"], "searchField": "content", "searchString": word.upper(), "searchIgnoreCase": "true"}
    staff = caller("manager").get(MESSAGES, params=query | {"orderBy": "id", "sortOrder": "asc", "pageSize": 1})

    assert staff.status_code == 200
    assert (staff.json()["total"], staff.json()["limit"]) == (2, 1)
    assert [message["role"] for message in staff.json()["items"]] == ["user"]
    assert user.get(MESSAGES).status_code == 403


def test_a_message_is_added_to_a_chat(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS)

    message = make(user, f"{MESSAGES}chats/{chat['id']}/messages", role="user", content="For later")

    assert message.items() >= {"chat_id": chat["id"], "role": "user", "content": "For later"}.items()
    assert len(user.get(f"{CHATS}{chat['id']}/messages").json()["items"]) == 1


def test_a_message_is_read(caller: Caller) -> None:
    user = caller()
    message = exchange(user, make(user, CHATS, agent="echo")["id"], "Read me")[1]

    answer = user.get(f"{MESSAGES}{message['id']}")

    assert (answer.status_code, answer.json()) == (200, message)


def test_a_message_is_updated(caller: Caller) -> None:
    user = caller()
    message = exchange(user, make(user, CHATS, agent="echo")["id"], "Befor")[0]

    answer = user.put(f"{MESSAGES}{message['id']}", json={"content": "Before", "in_prompt": False})

    now = user.get(f"{MESSAGES}{message['id']}").json()
    assert answer.status_code == 200
    assert (now["content"], now["in_prompt"]) == ("Before", False)


def test_a_message_is_deleted(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS, agent="echo")
    message = exchange(user, chat["id"], "Forget me")[0]

    answer = user.delete(f"{MESSAGES}{message['id']}")

    assert answer.status_code == 204
    assert user.get(f"{MESSAGES}{message['id']}").status_code == 404
    assert len(user.get(f"{CHATS}{chat['id']}/messages").json()["items"]) == 1


def test_malformed_bodies_are_refused_with_the_fields(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS)["id"]
    bodies = {
        f"{MESSAGES}chats/{chat}/messages": {"role": "robot", "content": "x"},
        f"{MESSAGES}{chat}/exchange": {"content": ""},
        CHATS: {"title": 5},
    }

    answers = [user.post(path, json=body) for path, body in bodies.items()]
    no_json = user.post(CHATS, content=b"{", headers={"content-type": "application/json"})

    assert {seen(answer) for answer in answers} == {(400, "validation-failed")}
    assert [answer.json()["errors"][0]["field"] for answer in answers] == ["role", "content", "title"]
    assert no_json.status_code == 400


# --- exchanges and agents


def test_an_exchange_answers_with_both_messages(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS)

    question, answer = exchange(user, chat["id"], "Hello!")

    assert (question["role"], question["content"], question["status"]) == ("user", "Hello!", "complete")
    assert (answer["role"], answer["status"], answer["chat_id"]) == ("assistant", "complete", chat["id"])
    assert "Hello!" in answer["content"]


def test_a_second_exchange_has_the_first_in_its_prompt(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS, agent="assistant")
    first = exchange(user, chat["id"], "My name is Ada.")

    second = exchange(user, chat["id"], "What is my name?")[1]
    user.put(f"{MESSAGES}{first[0]['id']}", json={"in_prompt": False})
    third = exchange(user, chat["id"], "And now?")[1]

    assert second["content"].endswith("(turn 2; the first thing you said: My name is Ada.)")
    assert "Ada" not in third["content"]


def test_each_chat_has_the_agent_it_names(caller: Caller) -> None:
    user = caller()
    listed = user.get("/api/v1/agents/").json()["items"]

    answers = {name: exchange(user, make(user, CHATS, agent=name)["id"], "help me")[1] for name in ("echo", "shout")}
    unnamed = exchange(user, make(user, CHATS)["id"], "help me")[1]
    unknown = user.post(CHATS, json={"agent": "nobody"})

    assert {"agenda", "assistant", "echo"} <= {agent["name"] for agent in listed}
    assert {name: answer["content"] for name, answer in answers.items()} == {"echo": "help me", "shout": "HELP ME"}
    assert unnamed["content"].startswith("You said: help me")
    assert unknown.status_code in {400, 404}


def test_the_agenda_agent_works_in_the_callers_calendars(
    home: Path, caller: Caller, fleet: Fleet, data_dir: Path
) -> None:
    port, sub = free_port(), uuid.uuid4().hex
    command = (PORTICO, "serve", "--port", str(port))
    # without a model the agent takes commands; in a schema of its own, or another gateway works on the run
    settings = fleet.settings(data_dir) | {"DEFAULT_MODEL": "none", "POSTGRES_SCHEMA": "commands"}
    with running(home / "agenda", *command, url=f"http://127.0.0.1:{port}", **settings) as gateway:
        gateway.awaits(gateway.is_ready)
        user = caller(sub=sub, url=gateway.url)
        chat = make(user, CHATS, agent="agenda")

        made = exchange(user, chat["id"], "create Garden")[1]
        listed = exchange(user, chat["id"], "list")[1]

    owned = caller(sub=sub).get(CALENDARS).json()["items"]
    assert [(one["name"], one["userId"]) for one in owned] == [("Garden", sub)]
    assert made["content"] == f"Created calendar {owned[0]['id']}: Garden."
    assert listed["content"] == f"{owned[0]['id']}: Garden"


def test_each_user_message_reaches_the_analytics_upstream(caller: Caller) -> None:
    user = caller()
    chat = make(user, CHATS, agent="echo")

    for content in ("first", "second"):
        exchange(user, chat["id"], content)

    def counted() -> list[int]:
        return [one["count"] for one in user.get("/api/v1/snapshot/counts").json()["items"]]

    assert becomes_true(lambda: counted() == [2], within_s=15)
    messages = user.get("/api/v1/snapshot/").json()["items"]
    assert [(one["message"], one["chat_id"]) for one in messages] == [("second", chat["id"]), ("first", chat["id"])]


def test_a_new_agent_is_discovered_without_registration(home: Path, visitors: Path, caller: Caller) -> None:
    without = run(home, "agents")
    with_it = run(home, "agents", env={"PYTHONPATH": str(visitors)})

    user = caller()
    shouted = exchange(user, make(user, CHATS, agent="shout")["id"], "hello")[1]

    assert "shout" not in without.stdout
    assert "Says it louder." in with_it.stdout
    assert shouted["content"] == "HELLO"
