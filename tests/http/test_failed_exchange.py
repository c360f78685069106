"""Exchanges that go wrong: the question stays, marked; the caller is told of what kind it was; the chat goes on."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import httpx
import pytest

from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, history, open_chat, say, somebody
from tests.http.moody import PATIENCE_S, SECRET, Moody


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, agent: Moody, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, agent.provider()) as url:
        yield url


@dataclass
class ThinkingTurn:
    """A turn whose agent thinks until `finish`."""

    agent: Moody
    answers: list[httpx.Response] = field(default_factory=list)
    _asking: threading.Thread = field(default_factory=threading.Thread)

    def begin(self, url: str, owner: str, chat_id: int) -> None:
        def ask() -> None:
            with httpx.Client(base_url=url, timeout=PATIENCE_S) as caller:
                self.answers.append(say(caller, owner, chat_id, "think"))

        self.agent.is_asked.clear()
        self.agent.may_answer.clear()
        self._asking = threading.Thread(target=ask)
        self._asking.start()
        assert self.agent.is_asked.wait(PATIENCE_S)

    def finish(self) -> httpx.Response:
        self.agent.may_answer.set()
        return self.answer()

    def answer(self) -> httpx.Response:
        """Wait for what the caller is told."""
        self._asking.join(PATIENCE_S)
        return self.answers[0]


@pytest.fixture
def turn(agent: Moody) -> Iterator[ThinkingTurn]:
    turn = ThinkingTurn(agent)
    yield turn
    turn.finish()


@pytest.mark.parametrize(
    ("text", "status", "type_"),
    [
        ("break", 502, "agent-failed"),
        ("refuse", 502, "agent-failed"),
        ("say nothing", 502, "agent-failed"),
        ("dawdle", 504, "agent-timed-out"),
        ("vanish", 503, "model-unavailable"),
        ("forget", 503, "model-not-configured"),
        ("lose the way", 503, "front-door-unavailable"),
    ],
)
def test_a_failing_agent_leaves_the_question_and_a_chat_that_goes_on(
    client: httpx.Client, text: str, status: int, type_: str
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    failed = say(client, owner, chat_id, text)
    after = say(client, owner, chat_id, "hello")

    assert (failed.status_code, failed.json()["type"]) == (status, type_)
    assert SECRET not in failed.text
    assert (after.status_code, after.json()[1]["content"]) == (201, "hello, after: nothing")
    assert [(message["content"], message["status"]) for message in history(client, owner, chat_id)] == [
        (text, "failed"),
        ("hello", "complete"),
        ("hello, after: nothing", "complete"),
    ]


def test_a_second_exchange_in_a_busy_chat_is_refused_at_once(
    client: httpx.Client, gateway_url: str, turn: ThinkingTurn
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    turn.begin(gateway_url, owner, chat_id)

    second = say(client, owner, chat_id, "me too")  # with the first still thinking: whoever waited would wait for ever
    first = turn.finish()
    third = say(client, owner, chat_id, "now?")

    assert (second.status_code, second.json()["type"]) == (409, "chat-busy")
    assert second.headers["location"] == f"/api/v1/runs/{second.json()['run_id']}"
    assert second.json()["run_id"] == first.json()[0]["run_id"]
    assert (first.status_code, first.json()[1]["content"]) == (201, "think, after: nothing")
    assert (third.status_code, third.json()[1]["content"]) == (201, "now?, after: think")
    assert [message["content"] for message in history(client, owner, chat_id)][::2] == ["think", "now?"]


def test_a_busy_chat_is_read_and_written_while_its_agent_thinks(
    client: httpx.Client, gateway_url: str, turn: ThinkingTurn
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    turn.begin(gateway_url, owner, chat_id)

    before = history(client, owner, chat_id)
    renamed = client.put(f"/api/v1/chats/{chat_id}", json={"title": "Busy"}, headers=as_(owner))
    elsewhere = say(client, owner, open_chat(client, owner)["id"], "hello")

    assert [(message["content"], message["status"]) for message in before] == [("think", "pending")]
    assert renamed.status_code == 200
    assert elsewhere.status_code == 201


def test_a_turn_whose_chat_is_deleted_is_lost_and_what_was_asked_is_kept(
    client: httpx.Client, gateway_url: str, turn: ThinkingTurn
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    turn.begin(gateway_url, owner, chat_id)

    client.delete(f"/api/v1/chats/{chat_id}", headers=as_(owner))
    lost = turn.answer()
    client.post(f"/api/v1/chats/{chat_id}/restore", headers=as_(owner))

    assert (lost.status_code, lost.json()["type"]) == (409, "turn-lost")
    assert [(message["content"], message["status"]) for message in history(client, owner, chat_id)] == [
        ("think", "interrupted")
    ]
    assert say(client, owner, chat_id, "again").status_code == 201


def test_a_model_that_says_when_to_come_back_is_passed_on(client: httpx.Client) -> None:
    owner = somebody()

    answer = say(client, owner, open_chat(client, owner)["id"], "vanish")

    assert answer.headers["retry-after"] == "7"
