"""The door for clients of OpenAI: the official client, and requests as Open WebUI and the AI SDK make them.

Any: JSON, and what a client makes of it.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import openai
import pytest
from dishka import Provider, Scope
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent, Responder, Risk, ToolContext, tool
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, make_key, somebody, withdraw
from tests.http.moody import Moody
from tests.model_server import Call, Drop, Hold, ModelServer, Think, running_model_server
from tests.unit.agents.desk import no_local_model

CHAT = "/v1/chat/completions"
HELLO: list[Any] = [{"role": "user", "content": "hello there"}]


@tool(risk=Risk.READS)
async def look_up(ctx: ToolContext, order_id: int) -> str:
    """Look an order up."""
    return f"found {order_id} for {ctx.turn.caller.user_id}"


@tool(risk=Risk.DESTROYS)
async def shred(ctx: ToolContext, order_id: int) -> str:
    """Shred an order."""
    return "shredded"


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, model: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=model.url, api_key="none"))

    shop = Agent(name="shop", description="Sells", instructions="Be brief.", tools=[look_up, shred])
    poor = Agent(name="poor", description="Has nothing", instructions="Be brief.")
    agents: Mapping[str, Agent | Responder] = MappingProxyType({"shop": shop, "moody": Moody(), "poor": poor})
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: AgentFactory(agents), provides=AgentFactory)
    provider.provide(lambda: Models("gpt-4o", no_local_model(), make=make), provides=Models)
    rows: tuple[dict[str, object], ...] = (
        {"path": "/v1/models/limited", "local": True, "access": "COMMON", "errors": "openai", "rate_limit": "1/minute"},
        {"path": "/v1/models/staff", "local": True, "access": "STAFF", "errors": "openai"},
    )
    budgets = {"poor": {"requests": 0}}
    folder: Path = tmp_path_factory.mktemp("gateway")
    settings = some_settings(folder, dsn=migrated_dsn, routes=rows, budget_agents=budgets)
    with running_gateway(settings, provider) as url:
        yield url


def a_client(url: str, key: str, **options: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, timeout=30, **options)


@pytest.fixture(scope="module")
def owner() -> str:
    return somebody()


@pytest.fixture(scope="module")
def key(caller: httpx.Client, owner: str) -> str:
    return str(make_key(caller, owner)["key"])


@pytest.fixture(scope="module")
def sdk(gateway_url: str, key: str) -> Iterator[openai.OpenAI]:
    with a_client(gateway_url, key, max_retries=0) as sdk:
        yield sdk


def carrying(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def runs_of(caller: httpx.Client, owner: str, answer_id: str) -> Json:
    hexes = answer_id.removeprefix("chatcmpl-")
    answer = caller.get(f"/api/v1/runs/{hexes}", headers=as_(owner))
    assert answer.status_code == 200, answer.text
    run: Json = answer.json()
    return run


# ---- the official client


def test_agents_are_listed_as_models(sdk: openai.OpenAI) -> None:
    assert [one.id for one in sdk.models.list()] == ["shop", "moody", "poor"]
    assert sdk.models.retrieve("shop").id == "shop"


def test_an_agent_completes(sdk: openai.OpenAI, caller: httpx.Client, owner: str) -> None:
    answer = sdk.chat.completions.create(model="shop", messages=HELLO)

    run = runs_of(caller, owner, answer.id)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == (
        "assistant",
        "You said: hello there",
        "stop",
    )
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert (run["agent"], run["status"], run["chat_id"]) == ("shop", "completed", None)
    assert run["usage"]["input_tokens"] == answer.usage.prompt_tokens


def test_an_agent_streams_and_tells_its_usage_where_it_is_asked_for(sdk: openai.OpenAI) -> None:
    chunks = list(
        sdk.chat.completions.create(model="shop", messages=HELLO, stream=True, stream_options={"include_usage": True})
    )
    without = list(sdk.chat.completions.create(model="shop", messages=HELLO, stream=True))

    assert chunks[0].choices[0].delta.role == "assistant"
    assert _text(chunks) == _text(without) == "You said: hello there"
    assert [one.choices[0].finish_reason for one in chunks if one.choices][-1] == "stop"
    assert (chunks[-1].choices, chunks[-1].usage is not None) == ([], True)
    assert all(one.usage is None for one in without)
    assert len({one.id for one in chunks}) == 1


def _text(chunks: Sequence[ChatCompletionChunk]) -> str:
    return "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)


def test_what_was_said_before_is_told_with_what_holds_for_all(sdk: openai.OpenAI, model: ModelServer) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "Answer in rhyme."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]},
        {"role": "assistant", "content": "three"},
        {"role": "assistant", "content": None},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "four"},
    ]

    answer = sdk.chat.completions.create(model="shop", messages=messages)

    asked = model.requests[-1].messages
    assert answer.choices[0].message.content == "You said: four"
    assert [text for role, text in asked if role in {"user", "assistant"}] == ["one\n\ntwo", "three", "four"]
    assert {"Answer in rhyme.", "Be kind."} <= {text for role, text in asked if role in {"system", "developer"}}


def test_tools_are_the_agents_and_act_for_the_keys_owner(sdk: openai.OpenAI, model: ModelServer, owner: str) -> None:
    model.script([Call("look_up", {"order_id": 7})], ["It is there."])

    answer = sdk.chat.completions.create(model="shop", messages=HELLO)

    assert answer.choices[0].message.content == "It is there."
    assert f"found 7 for {owner}" in json.dumps(model.requests[-1].body)


def test_thinking_is_told_beside_the_answer(sdk: openai.OpenAI, model: ModelServer) -> None:
    model.script([Think("Hm."), "Yes."])

    chunks = list(sdk.chat.completions.create(model="shop", messages=HELLO, stream=True))

    deltas = [one.choices[0].delta.model_dump() for one in chunks]
    assert "".join(one.get("reasoning_content") or "" for one in deltas) == "Hm."
    assert _text(chunks) == "Yes."


def test_a_model_that_breaks_off_and_begins_again_is_heard_once(sdk: openai.OpenAI, model: ModelServer) -> None:
    model.script(["Once ", "upon ", Drop()], ["Once ", "upon ", "a ", "time."])

    chunks = list(sdk.chat.completions.create(model="shop", messages=HELLO, stream=True))

    assert _text(chunks) == "Once upon a time."


def test_a_model_that_begins_otherwise_breaks_the_answer(sdk: openai.OpenAI, model: ModelServer) -> None:
    model.script(["Once ", "upon ", Drop()], ["Twice ", "upon ", "a ", "time."])

    with pytest.raises(openai.APIError, match="begun otherwise"):
        list(sdk.chat.completions.create(model="shop", messages=HELLO, stream=True))


def test_many_ask_at_once(sdk: openai.OpenAI) -> None:
    def ask(number: int) -> str | None:
        messages: list[Any] = [{"role": "user", "content": f"number {number}"}]
        return sdk.chat.completions.create(model="shop", messages=messages).choices[0].message.content

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(16)))

    assert answers == [f"You said: number {number}" for number in range(16)]


@pytest.mark.parametrize("is_streamed", [True, False], ids=["streamed", "whole"])
def test_who_leaves_stops_the_run(gateway_url: str, key: str, model: ModelServer, *, is_streamed: bool) -> None:
    model.script(["Let me ", Hold()])
    before = len(model.requests)
    body = {"model": "shop", "messages": HELLO, "stream": is_streamed}

    with httpx.Client(base_url=gateway_url, timeout=0.3) as impatient, pytest.raises(httpx.ReadTimeout):
        impatient.post(CHAT, json=body, headers=carrying(key))

    assert model.awaits(lambda: len(model.requests) > before and model.requests[before].is_aborted)


def test_an_approval_is_waited_for_in_a_stream(
    gateway_url: str, caller: httpx.Client, key: str, owner: str, model: ModelServer
) -> None:
    model.script([Call("shred", {"order_id": 7})], ["Done."])
    said = []

    with httpx.stream(
        "POST",
        f"{gateway_url}{CHAT}",
        json={"model": "shop", "messages": HELLO, "stream": True},
        headers=carrying(key),
        timeout=30,
    ) as answer:
        for line in answer.iter_lines():
            said.append(line)
            if "approval of shred" in line:
                (waits,) = caller.get("/api/v1/approvals?status=pending", headers=as_(owner)).json()["items"]
                decided = caller.post(
                    f"/api/v1/approvals/{waits['id']}", json={"decision": "approve"}, headers=as_(owner)
                )
                assert decided.status_code == 200

    assert any('"content":"Done."' in line for line in said)
    assert said[-2] == "data: [DONE]"


def test_an_approval_is_not_waited_for_otherwise(sdk: openai.OpenAI, model: ModelServer) -> None:
    model.script([Call("shred", {"order_id": 7})], ["Done."])

    with pytest.raises(openai.ConflictError) as refused:
        sdk.chat.completions.create(model="shop", messages=HELLO)

    assert refused.value.code == "approval_wanted"


def test_a_budget_that_is_spent_is_no_reason_to_ask_again(gateway_url: str, key: str, model: ModelServer) -> None:
    before = len(model.requests)

    with a_client(gateway_url, key, max_retries=2) as sdk, pytest.raises(openai.RateLimitError) as refused:
        sdk.chat.completions.create(model="poor", messages=HELLO)

    assert (refused.value.code, refused.value.type) == ("insufficient_quota", "insufficient_quota")
    assert refused.value.response.headers["x-should-retry"] == "false"
    assert len(model.requests) == before


# ---- refusals


def test_without_a_key_nobody_is_answered(gateway_url: str, caller: httpx.Client) -> None:
    deleted = make_key(caller, gone := somebody())
    caller.delete(f"/api/v1/keys/{deleted['id']}", headers=as_(gone))
    shut_out = make_key(caller, person := somebody())
    withdraw(caller, sub=person)

    for wrong in ("nonsense", "ptk_" + "0" * 32 + "_" + "0" * 64, deleted["key"], shut_out["key"]):
        with a_client(gateway_url, wrong, max_retries=0) as sdk:
            with pytest.raises(openai.AuthenticationError) as refused:
                sdk.chat.completions.create(model="shop", messages=HELLO)
            assert refused.value.code == "invalid_api_key"
            with pytest.raises(openai.AuthenticationError):
                sdk.models.list()
    anonymous = caller.post(CHAT, json={"model": "shop", "messages": HELLO})
    assert (anonymous.status_code, anonymous.json()["error"]["code"]) == (401, "invalid_api_key")
    assert anonymous.headers["www-authenticate"] == "Bearer"


def test_a_role_or_a_scope_that_opens_no_door_is_forbidden(gateway_url: str, caller: httpx.Client) -> None:
    narrow = make_key(caller, somebody(), scopes=["/v1/models"])["key"]

    with a_client(gateway_url, narrow, max_retries=0) as sdk:
        assert sdk.models.list().data
        with pytest.raises(openai.PermissionDeniedError) as refused:
            sdk.chat.completions.create(model="shop", messages=HELLO)
    guest = caller.get("/v1/models", headers=as_(somebody(), "guest"))

    assert refused.value.code == "scope_not_granted"
    assert (guest.status_code, guest.json()["error"]["code"]) == (403, "role_not_allowed")


def test_the_edges_refusals_are_openais_too(gateway_url: str, caller: httpx.Client, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("limited")
    with pytest.raises(openai.RateLimitError) as refused:
        sdk.models.retrieve("limited")
    with pytest.raises(openai.PermissionDeniedError) as of_role:
        sdk.models.retrieve("staff")

    assert refused.value.code == "rate_limit_exceeded"
    assert "retry-after" in refused.value.response.headers
    assert of_role.value.code == "role_not_allowed"


def test_another_owner_finds_no_run(gateway_url: str, caller: httpx.Client, sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="shop", messages=HELLO)

    hexes = answer.id.removeprefix("chatcmpl-")
    assert caller.get(f"/api/v1/runs/{hexes}", headers=as_(somebody())).status_code == 404


def test_a_model_that_is_no_agent_is_not_found(sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as refused:
        sdk.chat.completions.create(model="gpt-4o", messages=HELLO)
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("gpt-4o")

    assert refused.value.code == "model_not_found"
    assert "shop" in refused.value.message


A_TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
AN_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
MALFORMED: Mapping[str, tuple[Mapping[str, object], str | None]] = {
    "no messages": ({"messages": []}, "messages"),
    "no model": ({"model": ""}, "model"),
    "a number for messages": ({"messages": 5}, "messages"),
    "a role nobody has": ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role"),
    "tools": ({"tools": [A_TOOL]}, "tools"),
    "functions": ({"functions": [{"name": "f"}]}, "functions"),
    "two answers": ({"n": 2}, "n"),
    "a form": ({"response_format": {"type": "json_object"}}, "response_format"),
    "stops": ({"stop": ["\n"]}, "stop"),
    "logprobs": ({"logprobs": True}, "logprobs"),
    "audio": ({"modalities": ["text", "audio"]}, "modalities"),
    "an image": ({"messages": [{"role": "user", "content": [AN_IMAGE]}]}, "messages[0].content"),
    "a tool's answer": ({"messages": [{"role": "tool", "content": "x"}, *HELLO]}, "messages[0]"),
    "the last is the assistant's": ({"messages": [*HELLO, {"role": "assistant", "content": "x"}]}, "messages[1]"),
    "the last says nothing": ({"messages": [{"role": "user", "content": "  "}]}, "messages[0]"),
    "what cannot be kept": ({"messages": [{"role": "user", "content": "a\0b"}]}, "messages"),
}


@pytest.mark.parametrize(("change", "param"), MALFORMED.values(), ids=MALFORMED.keys())
def test_what_cannot_be_done_is_refused_by_its_name(
    caller: httpx.Client, key: str, change: Mapping[str, object], param: str
) -> None:
    answer = caller.post(CHAT, json={"model": "shop", "messages": HELLO, **change}, headers=carrying(key))

    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert answer.headers["x-should-retry"] == "false"
    assert (error["param"] or "").startswith(param.split("[", maxsplit=1)[0])


def test_what_is_no_json_is_refused_in_the_same_words(caller: httpx.Client, key: str) -> None:
    answer = caller.post(CHAT, content=b"{nonsense", headers=carrying(key))

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("text", "code"), [("break", "agent_failed"), ("dawdle", "agent_timed_out"), ("vanish", "model_unavailable")]
)
def test_an_agent_that_fails_is_told_by_status_and_in_a_stream_by_an_error(
    sdk: openai.OpenAI, text: str, code: str
) -> None:
    messages: list[Any] = [{"role": "user", "content": text}]

    with pytest.raises(openai.InternalServerError) as whole:
        sdk.chat.completions.create(model="moody", messages=messages)
    with pytest.raises(openai.APIError) as streamed:
        list(sdk.chat.completions.create(model="moody", messages=messages, stream=True))

    assert whole.value.code == code
    assert streamed.value.code == code
    assert "hunter2" not in str(whole.value) + str(streamed.value)


def test_a_long_conversation_is_cut_to_what_a_run_may_be_told(sdk: openai.OpenAI, model: ModelServer) -> None:
    turns = [
        {"role": role, "content": f"{number} " + '"\n' * 5_000}
        for number in range(30)
        for role in ("user", "assistant")
    ]
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, *turns, *HELLO]

    answer = sdk.chat.completions.create(model="shop", messages=messages)

    assert answer.choices[0].message.content == "You said: hello there"


def test_what_is_too_long_alone_is_refused(sdk: openai.OpenAI) -> None:
    messages: list[Any] = [{"role": "system", "content": "x" * 300_000}, *HELLO]

    with pytest.raises(openai.APIStatusError) as refused:
        sdk.chat.completions.create(model="shop", messages=messages)

    assert (refused.value.status_code, refused.value.code) == (413, "context_length_exceeded")


def test_a_request_that_is_sent_twice_under_one_key_is_one_run(
    caller: httpx.Client, key: str, model: ModelServer
) -> None:
    before = len(model.requests)
    headers = {**carrying(key), "idempotency-key": "stainless-1"}
    body = {"model": "shop", "messages": HELLO}

    answers = [caller.post(CHAT, json=body, headers=headers).json() for _ in range(2)]

    assert answers[0] == answers[1]
    assert len(model.requests) == before + 1


# ---- other clients' requests, as they make them


def test_open_webui_is_answered(caller: httpx.Client, key: str) -> None:
    """Verifies a connection, asks in a stream, and for a title behind it; its proxy sends what its page made.

    Source: open-webui, `routers/openai.py` (`verify_connection`, `generate_chat_completion`) and `utils/middleware.py`,
    which takes lines that begin with `data:`, reads `choices[0].delta`, and `usage` of a piece without choices.
    """
    headers = {
        **carrying(key),
        "content-type": "application/json",
        "x-openwebui-user-name": "Ann",
        "x-openwebui-user-id": "6f9d",
        "x-openwebui-user-email": "ann@example.org",
        "x-openwebui-user-role": "user",
    }
    asked = {
        "stream": True,
        "model": "shop",
        "messages": [
            {"role": "system", "content": "You are kind."},
            {"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]},
        ],
        "temperature": 0.8,
        "max_tokens": 512,
        "reasoning": {"effort": "low"},
        "logit_bias": {"50256": -100},
        "stream_options": {"include_usage": True},
    }
    title = {
        "model": "shop",
        "messages": [{"role": "user", "content": "### Task:\nGenerate a concise title"}],
        "stream": False,
        "max_completion_tokens": 1000,
    }

    listed = caller.get("/v1/models", headers=headers).json()
    streamed = caller.post(CHAT, content=json.dumps(asked), headers=headers)
    whole = caller.post(CHAT, content=json.dumps(title), headers=headers).json()

    assert listed["object"] == "list"
    assert [(one["id"], one["object"]) for one in listed["data"]] == [
        (name, "model") for name in ("shop", "moody", "poor")
    ]
    assert "text/event-stream" in streamed.headers["content-type"]
    said, usage = _as_open_webui_reads(streamed.text)
    assert said == "You said: hi"
    assert usage.keys() >= {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert whole["choices"][0]["message"]["content"].startswith("You said: ### Task:")


def _as_open_webui_reads(text: str) -> tuple[str, Json]:
    said = ""
    usage: Json = {}
    for line in text.split("\n"):
        if not line.strip() or not line.startswith("data:"):
            continue
        data = line[len("data:") :].strip()
        if data == "[DONE]":
            break
        read = json.loads(data)
        assert "error" not in read
        choices = read.get("choices", [])
        usage = read.get("usage") or usage
        if choices:
            said += choices[0].get("delta", {}).get("content") or ""
    return said, usage


def test_the_ai_sdk_is_answered(caller: httpx.Client, key: str) -> None:
    """Asks whole and in a stream, with what is undefined left out.

    Source: vercel/ai, `packages/openai-compatible/src/chat/openai-compatible-chat-language-model.ts` (`getArgs`,
    `OpenAICompatibleChatResponseSchema`, `chunkBaseSchema`), whose schemas the official types are narrower than.
    """
    headers = {**carrying(key), "content-type": "application/json", "user-agent": "ai-sdk/openai-compatible/2.0.0"}
    asked: dict[str, object] = {
        "model": "shop",
        "max_tokens": 256,
        "temperature": 0,
        "top_p": 1,
        "frequency_penalty": 0,
        "presence_penalty": 0,
        "seed": 7,
        "user": "ann",
        "messages": [
            {"role": "system", "content": "You are kind."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "two"},
            {"role": "user", "content": "three"},
        ],
    }

    whole = caller.post(CHAT, json=asked, headers=headers)
    streamed = caller.post(
        CHAT, json={**asked, "stream": True, "stream_options": {"include_usage": True}}, headers=headers
    )
    refused = caller.post(CHAT, json={**asked, "model": "nobody"}, headers=headers)

    answer = ChatCompletion.model_validate(whole.json(), strict=True)
    chunks = [
        ChatCompletionChunk.model_validate_json(line.removeprefix("data: "), strict=True)
        for line in streamed.text.split("\n")
        if line.startswith("data: ") and line != "data: [DONE]"
    ]
    assert answer.choices[0].message.content == _text(chunks) == "You said: three"
    assert {one.choices[0].delta.role for one in chunks if one.choices} == {"assistant", None}
    assert chunks[-1].usage is not None
    error = refused.json()["error"]  # openAICompatibleErrorDataSchema: message a text; type, param and code any
    assert (refused.status_code, type(error["message"])) == (404, str)
