"""A chat as a tree over HTTP: said otherwise, answered anew, gone on in another branch or in a copy."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, attach, fields_of, history, open_chat, say, somebody, write
from tests.http.moody import PATIENCE_S, Moody


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, agent: Moody, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The agent tells what it was shown."""
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, agent.provider()) as url:
        yield url


def act(client: httpx.Client, sub: str, message: Json, verb: str, role: str = "user", **body: object) -> httpx.Response:
    path = f"/api/v1/messages/{message['id']}/{verb}"
    return client.post(path, json=body, headers=as_(sub, role)) if body else client.post(path, headers=as_(sub, role))


def texts(messages: list[Json]) -> list[str]:
    return [message["content"] for message in messages]


def versions(client: httpx.Client, sub: str, chat_id: int) -> list[list[int]]:
    return [message["versions"] for message in history(client, sub, chat_id)]


@pytest.mark.parametrize("verb", ["edit", "regenerate", "fork", "select"])
def test_nobody_but_the_owner_branches_a_conversation_but_an_admin_may_look(client: httpx.Client, verb: str) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    question = say(client, owner, chat_id, "hello").json()[0]
    body = {"content": "other"} if verb == "edit" else {}

    others = [act(client, somebody(), question, verb, role, **body) for role in ("user", "manager", "admin")]
    clones = [
        client.post(f"/api/v1/chats/{chat_id}/clone", headers=as_(somebody(), role)) for role in ("user", "admin")
    ]

    admins = (200, None) if verb == "select" else (404, "message-not-found")
    assert [(one.status_code, one.json().get("type")) for one in others] == [(404, "message-not-found")] * 2 + [admins]
    assert [(one.status_code, one.json()["type"]) for one in clones] == [(404, "chat-not-found")] * 2
    assert len(history(client, owner, chat_id)) == 2


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("edit", {"content": ""}, "content"),
        ("edit", {}, ""),
        ("edit", {"content": "x", "chat_id": 1}, "chat_id"),
        ("edit", {"content": "x", "run_mode": "background", "on_disconnect": "cancel"}, "on_disconnect"),
        ("regenerate", {"content": "x"}, "content"),
        ("regenerate", {"timeout_s": 0}, "timeout_s"),
        ("fork", {"title": "x" * 201}, "title"),
        ("fork", {"agent": "echo"}, "agent"),
    ],
)
def test_what_is_malformed_changes_nothing(
    client: httpx.Client, verb: str, body: dict[str, object], field: str
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    question = say(client, owner, chat_id, "hello").json()[0]

    answer = client.post(f"/api/v1/messages/{question['id']}/{verb}", json=body, headers=as_(owner))

    assert answer.status_code == 400
    assert fields_of(answer) in ([field], ["content"])
    assert len(history(client, owner, chat_id)) == 2


def test_what_is_said_otherwise_is_answered_as_if_nothing_had_been_said_since(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    first, _ = say(client, owner, chat_id, "one").json()
    second, _ = say(client, owner, chat_id, "two").json()
    say(client, owner, chat_id, "three")

    answer = act(client, owner, second, "edit", content="two b")
    instead, reply = answer.json()
    _, after = say(client, owner, chat_id, "four").json()

    assert (answer.status_code, answer.headers["location"]) == (201, f"/api/v1/runs/{reply['run_id']}")
    assert (reply["content"], after["content"]) == ("two b, after: one", "four, after: one two b")
    assert texts(history(client, owner, chat_id)) == [
        *["one", "one, after: nothing", "two b", "two b, after: one", "four", "four, after: one two b"]
    ]
    assert versions(client, owner, chat_id) == [[], [], [second["id"], instead["id"]], [], [], []]
    again = act(client, owner, instead, "edit", content="two c").json()
    assert versions(client, owner, chat_id)[2] == [second["id"], instead["id"], again[0]["id"]]
    anew = act(client, owner, first, "edit", content="one b").json()
    assert texts(history(client, owner, chat_id)) == ["one b", "one b, after: nothing"]
    assert versions(client, owner, chat_id)[0] == [first["id"], anew[0]["id"]]


def test_an_answer_is_given_anew_beside_the_one_there_is(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    say(client, owner, chat_id, "one")
    question, answer = say(client, owner, chat_id, "two").json()
    say(client, owner, chat_id, "three")

    same, other = act(client, owner, answer, "regenerate").json()
    third = act(client, owner, question, "regenerate", on_busy="queue").json()[1]
    _, after = say(client, owner, chat_id, "three b").json()

    assert (same["id"], other["content"], other["in_prompt"]) == (question["id"], "two, after: one", True)
    assert after["content"] == "three b, after: one two"
    assert texts(history(client, owner, chat_id))[2:] == ["two", "two, after: one", "three b", after["content"]]
    assert versions(client, owner, chat_id)[3] == [answer["id"], other["id"], third["id"]]
    rerun = client.post(f"/api/v1/runs/{other['run_id']}/rerun", headers=as_(owner)).json()
    client.get(f"/api/v1/runs/{rerun['run']['id']}/events", headers={**as_(owner), "accept": "text/event-stream"})
    chosen = act(client, owner, other, "select")
    replaced, newest = history(client, owner, chat_id)[3:]
    assert chosen.json()["branch"] == other["branch"]
    assert (replaced["id"], replaced["in_prompt"], newest["in_prompt"]) == (other["id"], False, True)
    assert newest["versions"] == [answer["id"], newest["id"], third["id"]]
    interactions = client.get(f"/api/v1/chats/{chat_id}/interactions", headers=as_(owner)).json()["items"]
    assert [one["answer"]["branch"] for one in interactions] == [0, other["branch"], other["branch"]]


def test_the_branch_that_is_selected_is_read_and_gone_on_in(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    question, answer = say(client, owner, chat_id, "one").json()
    act(client, owner, question, "edit", content="one b")

    chosen = act(client, owner, answer, "select")
    by_admin = act(client, somebody(), answer, "select", "admin")
    _, after = say(client, owner, chat_id, "two").json()
    everything = client.get(f"/api/v1/chats/{chat_id}/messages?branches=all&limit=3", headers=as_(owner)).json()

    assert (chosen.status_code, chosen.json()["id"], chosen.json()["branch"]) == (200, chat_id, 0)
    assert by_admin.json()["user_id"] == owner
    assert after["content"] == "two, after: one"
    assert texts(history(client, owner, chat_id)) == ["one", "one, after: nothing", "two", "two, after: one"]
    assert texts(everything["items"]) == ["one", "one, after: nothing", "one b"]
    assert [one["branch"] for one in everything["items"]] == [0, 0, 1]
    assert everything["next"] == everything["items"][-1]["id"]
    assert client.get(f"/api/v1/chats/{chat_id}/messages?branches=some", headers=as_(owner)).status_code == 400


def test_an_edit_waits_for_its_turn_and_keeps_to_its_branch(
    client: httpx.Client, gateway_url: str, agent: Moody, thinking: threading.Event
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    first = say(client, owner, chat_id, "one").json()[0]
    with ThreadPoolExecutor() as pool, httpx.Client(base_url=gateway_url, timeout=PATIENCE_S) as other:
        running = pool.submit(say, other, owner, chat_id, "think")
        assert agent.is_asked.wait(PATIENCE_S)

        refused = act(client, owner, first, "edit", content="one b")
        again = act(client, owner, first, "regenerate")
        options = {"on_busy": "queue", "run_mode": "background"}
        queued = act(client, owner, first, "edit", content="one b", **options)
        inside = history(client, owner, chat_id)
        back = act(client, owner, first, "select")
        thinking.set()
        answered = running.result().json()[1]
    events = {**as_(owner), "accept": "text/event-stream"}
    stream = client.get(f"/api/v1/runs/{queued.json()['run']['id']}/events", headers=events).text

    assert [(one.status_code, one.json()["type"]) for one in (refused, again)] == [(409, "chat-busy")] * 2
    assert (queued.status_code, queued.headers["location"]) == (202, f"/api/v1/runs/{queued.json()['run']['id']}")
    assert [(one["content"], one["status"]) for one in inside] == [("one b", "pending")]
    assert (back.status_code, answered["content"]) == (200, "think, after: one")
    assert "run_completed" in stream
    assert texts(history(client, owner, chat_id)) == ["one", "one, after: nothing", "think", "think, after: one"]
    act(client, owner, inside[0], "select")
    assert texts(history(client, owner, chat_id)) == ["one b", "one b, after: nothing"]


def test_an_edit_is_followed_as_it_is_answered(client: httpx.Client) -> None:
    owner = somebody()
    first = say(client, owner, open_chat(client, owner)["id"], "one").json()[0]
    headers = {**as_(owner), "accept": "text/event-stream"}

    stream = client.post(f"/api/v1/messages/{first['id']}/edit", json={"content": "two"}, headers=headers)
    anew = client.post(f"/api/v1/messages/{first['id']}/regenerate", headers=headers)

    told = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: ")]
    assert (stream.status_code, told[-1]["type"]) == (200, "run_completed")
    assert "".join(one["data"]["text"] for one in told if one["type"] == "text_delta") == "two, after: nothing"
    assert (anew.status_code, "run_completed" in anew.text) == (200, True)


@pytest.mark.parametrize("verb", ["edit", "regenerate", "fork"])
def test_what_is_sent_again_branches_once(client: httpx.Client, verb: str) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    first = say(client, owner, chat_id, "one").json()[0]
    headers = {**as_(owner), "idempotency-key": f"{verb}-{chat_id}"}
    body = {"content": "other"} if verb == "edit" else {}

    path = f"/api/v1/messages/{first['id']}/{verb}"
    stream = {"accept": "text/event-stream"} if verb != "fork" else {}
    answers = [
        client.post(path, json=body, headers={**headers, **extra}) for extra in (stream, stream, {"accept": "*/*"})
    ]

    everything = client.get(f"/api/v1/chats/{chat_id}/messages?branches=all", headers=as_(owner)).json()["items"]
    assert {answer.is_success for answer in answers} == {True}
    assert len(everything) == {"edit": 4, "regenerate": 3, "fork": 2}[verb]
    assert client.get("/api/v1/chats/", headers=as_(owner)).json()["total"] == (2 if verb == "fork" else 1)


def test_what_the_agent_said_is_not_edited_and_what_nobody_asked_is_not_answered_anew(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    _, answer = say(client, owner, chat_id, "one").json()
    written = write(client, owner, chat_id, "imported", role="assistant")
    asked = write(client, owner, chat_id, "never asked")

    edited = act(client, owner, answer, "edit", content="otherwise")
    anew = act(client, owner, written, "regenerate")
    first = act(client, owner, asked, "regenerate")

    assert (edited.status_code, edited.json()["type"]) == (409, "message-not-editable")
    assert (anew.status_code, anew.json()["type"]) == (409, "nothing-to-regenerate")
    assert first.json()[1]["content"] == "never asked, after: one"


def test_a_fork_has_the_path_to_a_message_and_goes_its_own_way(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner, title="Plans", metadata={"a": 1})["id"]
    question, _ = say(client, owner, chat_id, "one").json()
    say(client, owner, chat_id, "two")
    _, other = act(client, owner, question, "regenerate").json()
    before = history(client, owner, chat_id)

    forked = act(client, owner, other, "fork", title="Fork")
    fork = forked.json()
    _, after = say(client, owner, fork["id"], "three").json()
    act(client, owner, before[0], "select")
    cloned = client.post(f"/api/v1/chats/{chat_id}/clone", headers=as_(owner))
    untouched = history(client, owner, chat_id)

    assert (forked.status_code, fork["title"], fork["metadata"], fork["user_id"]) == (201, "Fork", {"a": 1}, owner)
    assert after["content"] == "three, after: one"
    said = history(client, owner, fork["id"])
    assert texts(said) == ["one", "one, after: nothing", "three", "three, after: one"]
    assert {one["chat_id"] for one in said} == {fork["id"]}
    assert said[1]["run_id"] == other["run_id"]
    assert [one["id"] for one in said] == sorted(one["id"] for one in said)
    assert (cloned.status_code, cloned.json()["title"]) == (201, "Plans")
    assert texts(history(client, owner, cloned.json()["id"])) == texts(untouched)
    assert texts(untouched) == ["one", "one, after: nothing", "two", "two, after: one"]
    answers = client.get(f"/api/v1/chats/{fork['id']}/interactions", headers=as_(owner)).json()["items"]
    assert texts([answers[0]["input"], answers[0]["answer"]]) == texts(said)[:2]
    anew = act(client, owner, said[1], "regenerate")
    assert anew.json()[1]["content"] == "one, after: nothing"


def test_what_is_said_otherwise_and_what_is_copied_keep_their_files(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    kept, other = (attach(client, owner, words, f"{words.decode()}.txt") for words in (b"plan", b"list"))
    asked = {"content": "read it", "attachments": [kept["id"]]}
    question = client.post(f"/api/v1/messages/{chat_id}/exchange", json=asked, headers=as_(owner)).json()[0]

    edited = act(client, owner, question, "edit", content="read it twice").json()[0]
    replaced = act(client, owner, question, "edit", content="read that", attachments=[other["id"]]).json()[0]
    copy = act(client, owner, question, "fork").json()

    (copied,) = history(client, owner, copy["id"])
    files = [[file["name"] for file in one["attachments"]] for one in (question, edited, replaced, copied)]
    assert files == [["plan.txt"], ["plan.txt"], ["list.txt"], ["plan.txt"]]
