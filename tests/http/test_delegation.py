"""Work that agents hand to one another, seen over HTTP and at the models, which are asked over HTTP as well."""

import json
from collections.abc import Iterator

import httpx
import pytest
from pydantic_ai.models import override_allow_model_requests

from tests.http.calls import as_, open_chat, say, somebody
from tests.http.lead import a_family, by_agent, handing_on, of_type, results_in
from tests.http.streams import begin, followed, read_run
from tests.model_server import Call, Hold, ModelServer, Part, Request, running_model_server

PATIENCE_S = 15


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _afresh(server: ModelServer) -> None:
    server.begin_afresh()
    server.hold_again()


@pytest.fixture(scope="module")
def client(server: ModelServer, migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with a_family(server, migrated_dsn, tmp_path_factory.mktemp("family")) as client:
        yield client


def asked_of(server: ModelServer, agent: str) -> list[float]:
    return [request.arrived_s for request in server.requests if request.body["model"] == agent]


def test_work_is_handed_on_and_its_answer_comes_back(server: ModelServer, client: httpx.Client) -> None:
    server.answer_with = by_agent(lead=handing_on("middle"), middle=handing_on("leaf"), leaf=["It is seven."])
    owner = somebody()

    run = begin(client, owner, open_chat(client, owner)["id"], "How many?")
    events = followed(client, owner, run["id"])

    assert events[-1]["type"] == "run_completed"
    (started,), (completed,) = of_type(events, "agent_started"), of_type(events, "agent_completed")
    assert (started["agent"], started["depth"], started["background"]) == ("middle", 1, False)
    assert (completed["run_id"], completed["status"], completed["error"]) == (started["run_id"], "completed", None)
    assert completed["usage"]["requests"] == 2
    below = followed(client, owner, started["run_id"])
    (deeper,) = of_type(below, "agent_started")
    assert (deeper["agent"], deeper["depth"]) == ("leaf", 2)
    child = read_run(client, owner, deeper["run_id"])
    assert (child["trigger"], child["agent"], child["status"]) == ("delegation", "leaf", "completed")
    assert child["result"]["text"] == "It is seven."
    assert "It is seven." in "".join(event["data"]["text"] for event in events if event["type"] == "text_delta")
    # whoever follows it is the owner, and nobody else
    stranger = client.get(f"/api/v1/runs/{deeper['run_id']}", headers=as_(somebody()))
    assert stranger.status_code == 404


def test_six_at_once_take_the_time_of_one(server: ModelServer, client: httpx.Client) -> None:
    server.answer_with = by_agent(lead=handing_on(*["leaf"] * 6), leaf=[Hold(), "Done."])
    owner = somebody()

    run = begin(client, owner, open_chat(client, owner)["id"], "All six!")
    are_together = server.awaits(lambda: len(asked_of(server, "leaf")) == 6, within_s=PATIENCE_S)
    server.release()
    events = followed(client, owner, run["id"])

    assert are_together  # each is asked before any has answered
    assert [one["status"] for one in of_type(events, "agent_completed")] == ["completed"] * 6
    assert len([one for one in of_type(events, "tool_call_complete") if not one["is_error"]]) == 6


def test_a_cancel_reaches_two_levels_down(server: ModelServer, client: httpx.Client) -> None:
    server.answer_with = by_agent(lead=handing_on("middle"), middle=handing_on("leaf"), leaf=["It is", Hold()])
    owner = somebody()
    run = begin(client, owner, open_chat(client, owner)["id"], "How many?")
    assert server.awaits(lambda: bool(asked_of(server, "leaf")), within_s=PATIENCE_S)

    client.post(f"/api/v1/runs/{run['id']}/cancel", headers=as_(owner))

    assert server.awaits(lambda: len(server.aborted) == 1, within_s=PATIENCE_S)
    assert server.aborted[0].body["model"] == "leaf"
    (started,) = of_type(followed(client, owner, run["id"]), "agent_started")
    below = followed(client, owner, started["run_id"])
    (deeper,) = of_type(below, "agent_started")
    last = followed(client, owner, deeper["run_id"])[-1]
    assert (below[-1]["type"], last["type"]) == ("run_interrupted", "run_interrupted")
    assert len(server.requests) == 3  # nobody asks a model any more


def test_the_time_of_whoever_hands_on_is_that_of_all_below(server: ModelServer, client: httpx.Client) -> None:
    server.answer_with = by_agent(
        lead=handing_on("middle", timeout_s=1), middle=handing_on("leaf"), leaf=["It is", Hold()]
    )
    owner = somebody()

    run = begin(client, owner, open_chat(client, owner)["id"], "How many?")
    events = followed(client, owner, run["id"])

    assert server.awaits(lambda: len(server.aborted) == 1, within_s=PATIENCE_S)
    aborted = server.aborted[0]
    assert aborted.body["model"] == "leaf"
    assert (aborted.ended_s or 0) - asked_of(server, "middle")[0] < 5
    (completed,) = of_type(events, "agent_completed")
    assert (completed["status"], completed["error"]["type"]) == ("failed", "agent-timed-out")
    # whoever handed it on goes on, and tells
    assert events[-1]["type"] == "run_completed"
    assert "agent-timed-out" in results_in(server.requests[-1])[0]


def test_a_budget_is_shared_by_all_below(server: ModelServer, client: httpx.Client) -> None:
    endless = [Call("read_todos")]
    server.answer_with = by_agent(frugal=handing_on("middle"), middle=handing_on("leaf"), leaf=lambda _: endless)
    owner = somebody()

    run = begin(client, owner, open_chat(client, owner, agent="frugal")["id"], "How many?")
    events = followed(client, owner, run["id"])

    (started,) = of_type(events, "agent_started")
    (deeper,) = of_type(followed(client, owner, started["run_id"]), "agent_started")
    lowest = read_run(client, owner, deeper["run_id"])
    assert len(server.requests) == 5  # of all three together
    assert (events[-1]["type"], events[-1]["data"]["error"]["type"]) == ("run_failed", "budget-exhausted")
    assert (lowest["status"], lowest["error"]["type"]) == ("failed", "budget-exhausted")
    assert lowest["error"]["detail"] == "The run's budget of 5 model requests is used up."


def test_more_than_may_work_at_once_take_their_turns(server: ModelServer, client: httpx.Client) -> None:
    server.answer_with = by_agent(lead=handing_on(*["leaf"] * 8), leaf=[Hold(), "Done."])
    owner = somebody()

    run = begin(client, owner, open_chat(client, owner)["id"], "All eight!")
    assert server.awaits(lambda: len(asked_of(server, "leaf")) == 6, within_s=PATIENCE_S)
    server.release()
    events = followed(client, owner, run["id"])

    assert [one["status"] for one in of_type(events, "agent_completed")] == ["completed"] * 8
    of_leaves = [request for request in server.requests if request.body["model"] == "leaf"]
    marks = sorted((at, step) for r in of_leaves for at, step in ((r.arrived_s, 1), (r.ended_s or 0, -1)))
    at_once = [sum(step for _, step in marks[: n + 1]) for n in range(len(marks))]
    assert max(at_once) == 6


def test_as_deep_as_it_goes_nobody_can_hand_on(server: ModelServer, client: httpx.Client) -> None:
    def middle(request: Request) -> list[Part]:
        may = any(tool["function"]["name"] == "run_agent" for tool in request.body["tools"])
        given = results_in(request)
        if may and not given:
            return handing_on("middle")
        return ["; ".join(given) or "The lowest."]

    server.answer_with = by_agent(middle=middle)
    owner = somebody()

    said = say(client, owner, open_chat(client, owner, agent="middle")["id"], "Deeper!")

    assert said.status_code == 201  # a wait for other agents is none for a person
    assert "The lowest." in said.json()[1]["content"]
    assert len(server.requests) == 3 + 4  # three hand on and tell, the fourth is three below the first


def test_what_goes_on_in_the_background_is_asked_for_later(server: ModelServer, client: httpx.Client) -> None:
    def lead(request: Request) -> list[Part]:
        given = results_in(request)
        if not given:
            return handing_on("leaf", "middle", background=True)
        if len(given) == 2:
            ids = [json.loads(part)["run_id"] for part in given]
            return [Call("agent_result", {"run_id": id_}) for id_ in reversed(ids)]
        return ["; ".join(given[2:])]

    server.answer_with = by_agent(lead=lead, middle=["From the middle."], leaf=["From the leaf."])
    owner = somebody()

    answer = say(client, owner, open_chat(client, owner)["id"], "Both!")

    text = answer.json()[1]["content"]
    assert text.index("From the middle.") < text.index("From the leaf.")


def test_an_agent_that_fails_is_a_result_of_the_call(server: ModelServer, client: httpx.Client) -> None:
    server.answer_with = by_agent(lead=handing_on("leaf"), leaf=["  "])
    owner = somebody()

    said = say(client, owner, open_chat(client, owner)["id"], "Try!")

    assert said.status_code == 201
    (result,) = results_in(server.requests[-1])
    assert "The agent leaf did not finish: agent-failed: " in result


def test_a_skill_is_done_with_its_text_and_its_tools_alone(server: ModelServer, client: httpx.Client) -> None:
    server.answer_with = by_agent(lead=lead_with_a_skill)
    owner = somebody()

    said = say(client, owner, open_chat(client, owner)["id"], "Check it!")
    shown = client.get("/api/v1/agents/lead", headers=as_(owner)).json()

    assert [skill["name"] for skill in shown["skills"]] == ["fact-check", "weigh-options"]
    assert shown["skills"][0]["description"].startswith("Takes a text apart")
    assert said.json()[1]["content"].endswith("Checked.")
    first, below = server.requests[0], server.requests[1]
    system = first.messages[0][1]
    assert "- fact-check: Takes a text apart" in system  # a line
    assert "Give each a verdict" not in system  # not the text
    assert "Give each a verdict" in below.messages[0][1]


def test_what_is_remembered_in_one_chat_is_recalled_in_another(server: ModelServer, client: httpx.Client) -> None:
    def lead(request: Request) -> list[Part]:
        if given := results_in(request):
            return [given[-1]]
        if "Remember" in request.messages[-1][1]:
            return [Call("remember", {"text": "Lives in Bern.", "tags": ["home"]})]
        return [Call("recall", {"query": "home"})]

    server.answer_with = by_agent(lead=lead)
    owner = somebody()
    say(client, owner, open_chat(client, owner)["id"], "Remember that I live in Bern.")

    said = say(client, owner, open_chat(client, owner)["id"], "Where is my home?")
    others = somebody()
    not_said = say(client, others, open_chat(client, others)["id"], "Where is my home?")

    assert "Lives in Bern." in said.json()[1]["content"]
    assert "Lives in Bern." not in not_said.json()[1]["content"]
    listed = client.get("/api/v1/memories/", headers=as_(owner)).json()
    assert [(one["text"], one["tags"]) for one in listed["items"]] == [("Lives in Bern.", ["home"])]


def test_a_plan_is_told_to_who_follows_and_read_in_the_next_turn(server: ModelServer, client: httpx.Client) -> None:
    items = [{"text": "Look", "status": "in_progress"}, {"text": "Tell", "status": "pending"}]

    def lead(request: Request) -> list[Part]:
        if given := results_in(request):
            return [given[-1]]
        is_first = "Plan" in request.messages[-1][1]
        return [Call("write_todos", {"items": items, "revision": 0}) if is_first else Call("read_todos")]

    server.answer_with = by_agent(lead=lead)
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    run = begin(client, owner, chat_id, "Plan it!")
    events = followed(client, owner, run["id"])

    said = say(client, owner, chat_id, "What is next?")

    assert {"kind": "plan", "revision": 1, "items": items} in of_type(events, "run_progress")
    assert json.loads(said.json()[1]["content"]) == {"revision": 1, "items": items}


def lead_with_a_skill(request: Request) -> list[Part]:
    if "Give each a verdict" in request.messages[0][1]:
        return ["Checked."]
    given = results_in(request)
    return [json.loads(given[0])["answer"]] if given else handing_on("fact-check")
