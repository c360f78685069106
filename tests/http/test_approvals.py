"""Approvals over HTTP: what waits is listed, decided once by who may, and the run goes on; the audit knows of it.

Any: decisions as JSON, right ones and wrong ones.
"""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import httpx
import pytest
from dishka import Provider, Scope
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent, Risk, ToolContext, tool
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from app.kernel.authority import Authority
from app.kernel.ids import UserId
from tests.builders import some_settings
from tests.e2e.program import becomes_true
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, history, make_task, open_chat, say, somebody
from tests.http.running import Workplace
from tests.http.streams import begin, followed, listed, read_run
from tests.model_server import Call, ModelServer, Part, Request, running_model_server
from tests.unit.agents.desk import no_local_model

APPROVALS = "/api/v1/approvals/"
PATIENCE_S = 20
APPROVAL = {
    "id", "run_id", "chat_id", "tool", "arguments", "reason", "status", "created_at", "expires_at", "decided_by",
    "decided_at",
}  # fmt: skip


@dataclass
class Shredder:
    """What was shredded, by whom; the agent's one tool."""

    shredded: list[tuple[str, int]] = field(default_factory=list)

    def agent(self) -> Agent:
        @tool(risk=Risk.DESTROYS)
        async def shred(ctx: ToolContext, number: int) -> str:
            """Shred a number."""
            self.shredded.append((ctx.turn.caller.user_id, number))
            return f"shredded {number}"

        return Agent(name="shredder", description="Shreds", instructions="Shred.", tools=[shred])

    def by(self, sub: str) -> list[int]:
        return [number for who, number in self.shredded if who == sub]


def shredding(request: Request) -> list[Part]:
    """Shred the numbers the user names, then tell what came of it."""
    messages = request.body["messages"]
    last = max(at for at, message in enumerate(messages) if message["role"] == "user")
    results = [str(message["content"]) for message in messages[last:] if message["role"] == "tool"]
    if results:
        return ["; ".join(results)]
    return [Call("shred", {"number": int(word)}) for word in request.last_user_text.split() if word.isdigit()]


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        server.answer_with = shredding
        yield server


@pytest.fixture(scope="module")
def shredder() -> Shredder:
    return Shredder()


@pytest.fixture(scope="module")
def gateway_url(
    migrated_dsn: str, server: ModelServer, shredder: Shredder, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: AgentFactory(MappingProxyType({"shredder": shredder.agent()})), provides=AgentFactory)
    provider.provide(lambda: Models("m", no_local_model(), make=make), provides=Models)
    with running_gateway(some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn), provider) as url:
        yield url


@dataclass(frozen=True, slots=True)
class Parked:
    """A run that waits, whose it is, and what it asks."""

    owner: str
    chat_id: int
    run_id: str
    approvals: list[Json]

    @property
    def id(self) -> str:
        return str(self.approvals[0]["id"])


def waiting(client: httpx.Client, sub: str, run_id: str) -> list[Json]:
    assert becomes_true(lambda: read_run(client, sub, run_id)["status"] == "waiting", within_s=PATIENCE_S)
    answer = client.get(APPROVALS, params={"run_id": run_id, "status": "pending", "sortOrder": "asc"}, headers=as_(sub))
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found


def parked(client: httpx.Client, words: str = "shred 7", *, owner: str = "", chat_id: int = 0) -> Parked:
    owner = owner or somebody()
    chat_id = chat_id or open_chat(client, owner)["id"]
    run_id = begin(client, owner, chat_id, words)["id"]
    return Parked(owner, chat_id, run_id, waiting(client, owner, run_id))


def decide(client: httpx.Client, sub: str, approval_id: str, role: str = "user", **decision: Any) -> httpx.Response:
    headers = as_(sub, role)
    if "key" in decision:
        headers["idempotency-key"] = str(decision.pop("key"))
    return client.post(f"{APPROVALS}{approval_id}", json={"decision": "approve", **decision}, headers=headers)


def audit(client: httpx.Client, **only: str) -> list[Json]:
    answer = client.get("/api/v1/audit", params=only, headers=as_("root", "admin"))
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found


def test_what_waits_is_listed_approved_and_done_once(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)
    (asked,) = one.approvals
    before = shredder.by(one.owner)

    answer = decide(client, one.owner, one.id)
    events = followed(client, one.owner, one.run_id)

    assert set(asked) >= APPROVAL
    assert (asked["tool"], asked["arguments"], asked["status"]) == ("shred", {"number": 7}, "pending")
    assert (asked["run_id"], asked["chat_id"], asked["decided_by"]) == (one.run_id, one.chat_id, None)
    assert (answer.status_code, answer.json()["status"], answer.json()["decided_by"]) == (200, "approved", one.owner)
    assert (before, shredder.by(one.owner)) == ([], [7])
    assert history(client, one.owner, one.chat_id)[-1]["content"] == "shredded 7"
    told = [event["type"] for event in events if event["type"].startswith(("run_", "tool_"))]
    assert [type_ for type_ in told if type_ != "run_progress"] == [
        "run_queued", "run_started", "tool_approval_request", "run_waiting", "run_started", "tool_approval_decided",
        "tool_call_start", "tool_call_complete", "run_completed",
    ]  # fmt: skip
    request = next(event["data"] for event in events if event["type"] == "tool_approval_request")
    assert (request["approval_id"], request["arguments"]) == (one.id, {"number": 7})
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_a_denial_with_a_reason_reaches_the_model(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)

    answer = decide(client, one.owner, one.id, decision="deny", reason="keep it")
    followed(client, one.owner, one.run_id)

    assert (answer.json()["status"], answer.json()["reason"]) == ("denied", "keep it")
    assert "keep it" in history(client, one.owner, one.chat_id)[-1]["content"]
    assert shredder.by(one.owner) == []


def test_it_is_done_with_the_arguments_it_was_approved_with(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)

    answer = decide(client, one.owner, one.id, arguments={"number": 8})
    followed(client, one.owner, one.run_id)

    assert (answer.json()["arguments"], answer.json()["edited_arguments"]) == ({"number": 7}, {"number": 8})
    assert shredder.by(one.owner) == [8]


def test_always_in_this_chat_is_asked_no_more_there_but_elsewhere(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)
    decide(client, one.owner, one.id, scope="chat")
    followed(client, one.owner, one.run_id)

    again = say(client, one.owner, one.chat_id, "shred 9")
    elsewhere = parked(client, "shred 10", owner=one.owner)

    assert again.status_code == 201
    assert len(elsewhere.approvals) == 1
    assert shredder.by(one.owner) == [7, 9]


def test_what_is_approved_for_a_chat_is_listed_and_can_be_taken_back(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)
    decide(client, one.owner, one.id, scope="chat")
    followed(client, one.owner, one.run_id)
    path, stranger = f"{APPROVALS}standing", somebody()

    def listed_by(sub: str, role: str = "user", **query: str) -> list[Json]:
        answer = client.get(path, params=query, headers=as_(sub, role))
        assert answer.status_code == 200, answer.text
        found: list[Json] = answer.json()["items"]
        return found

    mine, of_admin = listed_by(one.owner), listed_by("root", "admin", user_id=one.owner)
    others = listed_by(stranger)
    refused = [
        client.get(path, params={"user_id": one.owner}, headers=as_(stranger)).status_code,
        client.delete(f"{path}/{one.id}", headers=as_(stranger)).status_code,
    ]
    taken = [client.delete(f"{path}/{one.id}", headers=as_(one.owner)) for _ in range(2)]
    again = parked(client, "shred 9", owner=one.owner, chat_id=one.chat_id)

    assert mine == of_admin
    assert [(row["id"], row["tool"], row["agent"], row["given_by"]) for row in mine] == [
        (one.id, "shred", "shredder", one.owner)
    ]
    assert (others, refused) == ([], [403, 404])
    assert [answer.status_code for answer in taken] == [204, 404]
    assert taken[1].json()["type"] == "standing-approval-not-found"
    assert (listed_by(one.owner), len(again.approvals)) == ([], 1)
    assert [entry["action"] for entry in audit(client, owner=one.owner)] == ["approval.taken_back", "approval.approved"]
    assert shredder.by(one.owner) == [7]


def test_an_admin_takes_back_what_a_user_approved_and_a_run_does_not(client: httpx.Client, migrated_dsn: str) -> None:
    one = parked(client)
    decide(client, one.owner, one.id, scope="chat")
    place, asker = Workplace(migrated_dsn), Authority(UserId(one.owner), ("user",), issued_at=0.0)
    by_run = {"authorization": f"Bearer {place.token(place.run_for(asker), asker)}"}
    path = f"{APPROVALS}standing/{one.id}"

    answers = [client.delete(path, headers=headers) for headers in (by_run, as_("root", "admin"))]

    assert [answer.status_code for answer in answers] == [403, 204]
    assert answers[0].json()["type"] == "approval-by-agent"


def test_a_second_exchange_is_told_that_the_first_waits_for_an_approval_and_which(client: httpx.Client) -> None:
    one = parked(client)

    answer = say(client, one.owner, one.chat_id, "and now?")

    told = answer.json()
    assert (answer.status_code, told["type"], told["run_id"]) == (409, "chat-busy", one.run_id)
    assert (told["waits_for"], told["approval_id"]) == ("approval", one.id)
    assert "approval of shred" in told["detail"]
    assert answer.headers["location"] == f"/api/v1/runs/{one.run_id}"


def test_calls_of_one_response_wait_together(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client, "shred 1 2 3")
    first, second, third = (approval["id"] for approval in one.approvals)

    statuses = [
        decide(client, one.owner, third).status_code,
        decide(client, one.owner, second, decision="deny").status_code,
        decide(client, one.owner, first).status_code,
    ]
    followed(client, one.owner, one.run_id)

    assert statuses == [200, 200, 200]
    assert shredder.by(one.owner) == [1, 3]


def test_another_user_can_neither_see_nor_decide_it(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)
    stranger = somebody()

    seen = client.get(APPROVALS, headers=as_(stranger)).json()
    asked_for = client.get(APPROVALS, params={"user_id": one.owner}, headers=as_(stranger))
    read = client.get(f"{APPROVALS}{one.id}", headers=as_(stranger))
    refused = [decide(client, stranger, one.id), decide(client, stranger, one.id, "manager")]

    assert (seen["items"], asked_for.status_code) == ([], 403)
    assert [answer.status_code for answer in (read, *refused)] == [404, 404, 404]
    assert read.json()["type"] == "approval-not-found"
    assert waiting(client, one.owner, one.run_id) == one.approvals
    assert shredder.by(one.owner) == []


def test_an_admin_sees_and_decides_everybodys(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)

    seen = client.get(APPROVALS, params={"user_id": one.owner}, headers=as_("root", "admin")).json()["items"]
    answer = decide(client, "root", one.id, "admin")
    followed(client, one.owner, one.run_id)

    assert [approval["id"] for approval in seen] == [one.id]
    assert answer.json()["decided_by"] == "root"
    assert shredder.by(one.owner) == [7]


def test_of_many_who_decide_at_once_one_is_first_and_the_others_are_told(
    client: httpx.Client, shredder: Shredder
) -> None:
    one = parked(client)
    start = threading.Barrier(8)

    def act(number: int) -> httpx.Response:
        start.wait()
        decision = "approve" if number % 2 else "deny"
        return decide(client, f"root-{number}", one.id, "admin", decision=decision)

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(act, range(8)))
    followed(client, one.owner, one.run_id)

    (won,) = [answer for answer in answers if answer.status_code == 200]
    lost = [answer for answer in answers if answer is not won]
    assert {answer.status_code for answer in lost} == {409}
    assert {(answer.json()["type"], answer.json()["approval_status"]) for answer in lost} == {
        ("approval-decided", won.json()["status"])
    }
    assert {answer.json()["decided_by"] for answer in lost} == {won.json()["decided_by"]}
    assert shredder.by(one.owner) == ([7] if won.json()["status"] == "approved" else [])


def test_a_keyed_decision_may_be_sent_again(client: httpx.Client) -> None:
    one, key = parked(client), uuid4().hex

    first = decide(client, one.owner, one.id, key=key)
    again = decide(client, one.owner, one.id, key=key)
    another = decide(client, one.owner, one.id)

    assert (first.status_code, again.status_code, another.status_code) == (200, 200, 409)
    assert again.json() == first.json()


def test_a_run_cannot_approve_with_its_own_token(client: httpx.Client, migrated_dsn: str, shredder: Shredder) -> None:
    one = parked(client)
    place = Workplace(migrated_dsn)
    asker = Authority(UserId(one.owner), ("user",), issued_at=0.0)
    token = place.token(place.run_for(asker), asker)

    refused = client.post(
        f"{APPROVALS}{one.id}", json={"decision": "approve"}, headers={"authorization": f"Bearer {token}"}
    )

    assert (refused.status_code, refused.json()["type"]) == (403, "approval-by-agent")
    assert waiting(client, one.owner, one.run_id) == one.approvals
    assert shredder.by(one.owner) == []


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        ({"decision": "perhaps"}, "decision"),
        ({"reason": "x" * 1001}, "reason"),
        ({"arguments": {"number": "\0"}}, "arguments"),
        ({"decision": "deny", "arguments": {}}, "arguments"),
        ({"decision": "deny", "scope": "chat"}, "scope"),
        ({"scope": "chat", "arguments": {"number": 1}}, "scope"),
        ({"scope": "always"}, "scope"),
    ],
)
def test_a_decision_that_says_nothing_clear_is_refused(
    client: httpx.Client, decision: dict[str, Any], field: str
) -> None:
    one = parked(client)

    answer = decide(client, one.owner, one.id, **decision)

    assert (answer.status_code, fields_of(answer)) == (400, [field])
    assert waiting(client, one.owner, one.run_id) == one.approvals


def test_a_sync_exchange_whose_run_waits_answers_with_the_run(client: httpx.Client) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]

    answer = say(client, owner, chat_id, "shred 7")

    run = answer.json()["run"]
    assert (answer.status_code, run["status"]) == (202, "waiting")
    assert answer.headers["location"] == f"/api/v1/runs/{run['id']}"


def test_a_run_that_waits_can_be_cancelled_and_leaves_nothing_to_decide(
    client: httpx.Client, shredder: Shredder
) -> None:
    one = parked(client)

    cancelled = client.post(f"/api/v1/runs/{one.run_id}/cancel", headers=as_(one.owner))
    late = decide(client, one.owner, one.id)

    assert cancelled.json()["status"] == "interrupted"
    assert (late.status_code, late.json()["approval_status"]) == (409, "expired")
    events = listed(client, one.owner, one.run_id)["items"]
    assert [event["type"] for event in events][-2:] == ["tool_approval_decided", "run_interrupted"]
    assert events[-2]["data"]["status"] == "expired"
    assert shredder.by(one.owner) == []


def test_a_revoked_users_waiting_run_is_stopped(client: httpx.Client, shredder: Shredder) -> None:
    one = parked(client)

    client.post("/api/v1/revocations", json={"sub": one.owner}, headers=as_("root", "admin"))

    def found() -> Json:
        answer: Json = client.get(f"{APPROVALS}{one.id}", headers=as_("root", "admin")).json()
        return answer

    assert becomes_true(lambda: found()["status"] == "expired", within_s=PATIENCE_S)
    run = client.get(f"/api/v1/runs/{one.run_id}", headers=as_("root", "admin")).json()
    assert run["status"] == "interrupted"
    assert decide(client, "root", one.id, "admin").status_code == 409
    assert shredder.by(one.owner) == []


def test_filters(client: httpx.Client) -> None:
    one = parked(client)
    ids = f"{one.id},{uuid4()}"

    queries: list[dict[str, Any]] = [
        {"status": "pending"},
        {"status": "approved"},
        {"chat_id": one.chat_id},
        {"tool": "shred"},
        {"tool": "read"},
        {"ids": ids},
        {"searchField": "tool", "searchString": "SHR"},
        {"createdBefore": "2001-01-01"},
    ]
    found = [
        [item["id"] for item in client.get(APPROVALS, params=query, headers=as_(one.owner)).json()["items"]]
        for query in queries
    ]
    refused = [
        fields_of(client.get(APPROVALS, params=query, headers=as_(one.owner)))
        for query in ({"ids": "7"}, {"status": "lost"}, {"run_id": "7"}, {"orderBy": "digest"}, {"tool": "\0"})
    ]

    assert found == [[one.id], [], [one.id], [one.id], [], [one.id], [one.id], []]
    assert refused == [["ids"], ["status"], ["run_id"], ["orderBy"], ["tool"]]


def test_decisions_and_acts_on_others_are_in_the_audit(client: httpx.Client) -> None:
    one = parked(client)
    decide(client, "root", one.id, "admin", decision="deny", reason="secret words")
    renamed = client.put(f"/api/v1/chats/{one.chat_id}", json={"title": "Mine"}, headers=as_("root", "admin"))
    client.put(f"/api/v1/chats/{one.chat_id}", json={"title": "Ours"}, headers=as_(one.owner))

    told = audit(client, owner=one.owner)

    assert [(entry["who"], entry["action"], entry["object_id"]) for entry in told] == [
        ("root", "chat.updated", str(one.chat_id)),
        ("root", "approval.denied", one.id),
    ]
    assert told[0]["request_id"] == renamed.headers["x-request-id"]
    assert told[1]["details"]["tool"] == "shred"
    assert "secret words" not in str(told)


def test_the_audit_is_for_admins(client: httpx.Client) -> None:
    assert client.get("/api/v1/audit", headers=as_(somebody(), "manager")).status_code == 403


def test_an_answer_is_told_with_the_way_to_it(client: httpx.Client) -> None:
    one = parked(client)
    decide(client, one.owner, one.id)
    followed(client, one.owner, one.run_id)
    say(client, one.owner, one.chat_id, "shred nothing")
    path = f"/api/v1/chats/{one.chat_id}/interactions"

    def read(**query: int) -> Json:
        answer = client.get(path, params=query, headers=as_(one.owner))
        assert answer.status_code == 200, answer.text
        found: Json = answer.json()
        return found

    (shredded,) = read(limit=1)["items"]
    rest = read(after=shredded["answer"]["id"])

    call, text = shredded["steps"]
    assert (shredded["input"]["content"], shredded["answer"]["content"]) == ("shred 7", "shredded 7")
    assert (call["type"], call["tool"], call["arguments"], call["result"]) == (
        "call",
        "shred",
        {"number": 7},
        "shredded 7",
    )
    assert (call["is_error"], call["approval"], text["type"], text["text"]) == (False, "approved", "text", "shredded 7")
    assert shredded["is_whole"]
    assert rest["next"] is None
    assert client.get(path, headers=as_(somebody())).status_code == 404


def test_the_call_of_a_task_waits_like_any_other_though_there_is_no_chat(
    client: httpx.Client, shredder: Shredder
) -> None:
    owner = somebody()
    run_id = make_task(client, owner, task_type="delegation", prompt="shred 8")["run_id"]
    (asked,) = waiting(client, owner, run_id)
    assert (asked["chat_id"], asked["run_id"]) == (None, run_id)
    for_the_chat = decide(client, owner, asked["id"], scope="chat")
    assert (for_the_chat.status_code, fields_of(for_the_chat)) == (400, ["scope"])

    assert decide(client, owner, asked["id"]).status_code == 200

    assert followed(client, owner, run_id)[-1]["type"] == "run_completed"
    assert shredder.by(owner) == [8]
    assert read_run(client, owner, run_id)["result"] == {"text": "shredded 8"}
    spent = client.get("/api/v1/usage", params={"by": "chat"}, headers=as_(owner)).json()["items"]
    assert [(one["chat_id"], one["requests"]) for one in spent] == [(None, 2)]
