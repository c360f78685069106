"""When a stream that ended was not at its end: by what providers send last."""

import pytest
from pydantic_ai.messages import ModelResponse, TextPart
from pydantic_ai.usage import RequestUsage

from app.agents.llm.model_step import is_cut

SPENT = RequestUsage(input_tokens=5, output_tokens=2)


@pytest.mark.parametrize(
    ("fields", "cut"),
    [
        ({"provider_name": "openai", "provider_details": {"finish_reason": "stop"}, "finish_reason": "stop"}, False),
        ({"provider_name": "openai", "finish_reason": "stop", "usage": SPENT}, False),
        ({"provider_name": "openai", "finish_reason": "stop"}, True),
        ({"provider_name": "openai", "finish_reason": "content_filter", "usage": SPENT}, False),
        ({"provider_name": "anthropic", "usage": SPENT}, True),
        ({"provider_name": "anthropic", "provider_details": {"finish_reason": "x"}, "usage": SPENT}, False),
        ({"finish_reason": None}, False),
    ],
    ids=["whole", "no reason but usage", "neither", "refused", "begun and cut", "unknown reason", "no provider"],
)
def test_a_stream_is_cut_where_its_end_is_missing(fields: dict[str, object], cut: bool) -> None:  # noqa: FBT001 - a case
    assert is_cut(ModelResponse([TextPart("Hel")], **fields)) is cut  # type: ignore[arg-type] # as given
