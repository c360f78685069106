"""What is left out of a conversation that is too long for a model's window."""

import pytest
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    TextPart,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)

from app.agents.llm.fitting import shorten, tokens_of_messages


def question(text: str) -> ModelMessage:
    return ModelRequest([UserPromptPart(text)])


def answer(text: str) -> ModelMessage:
    return ModelResponse([TextPart(text)])


STANDING: ModelMessage = ModelRequest([SystemPromptPart("Be brief.")])
WITH_TOOL: list[ModelMessage] = [
    question("first"),
    ModelResponse([ToolCallPart("look", {"a": 1}, tool_call_id="c")]),
    ModelRequest([ToolReturnPart("look", "seen", tool_call_id="c")]),
    answer("one"),
]
CONVERSATION = [STANDING, *WITH_TOOL, question("second"), answer("two"), question("now")]


def test_what_fits_is_left_as_it_is() -> None:
    assert shorten(CONVERSATION, limit_tokens=10_000) is CONVERSATION


def test_the_oldest_turn_goes_as_a_whole_with_its_calls_and_results() -> None:
    limit = tokens_of_messages(CONVERSATION) - 1

    assert shorten(CONVERSATION, limit_tokens=limit) == [STANDING, *CONVERSATION[5:]]


def test_the_present_turn_and_what_holds_for_all_of_them_stay() -> None:
    assert shorten(CONVERSATION, limit_tokens=1) == [STANDING, question_now()]


def question_now() -> ModelMessage:
    return CONVERSATION[-1]


@pytest.mark.parametrize("limit", range(1, 120, 7))
def test_no_result_is_left_without_its_call(limit: int) -> None:
    left = shorten(CONVERSATION, limit_tokens=limit)

    kinds = [part.part_kind for message in left for part in message.parts]
    assert kinds.count("tool-call") == kinds.count("tool-return")
