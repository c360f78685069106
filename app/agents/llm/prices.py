"""What a model request costs, and what it may: tokens as the provider says or estimated from above, and their price.

The prices are genai-prices', which come with the model library.
Rule: a price that is not known is None, never nought; what is not known stops nobody.
"""

from collections.abc import Iterable
from decimal import Decimal

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage
from pydantic_core import to_json

from app.agents.llm.fitting import tokens_of_messages
from app.agents.llm.window import estimate_tokens
from app.agents.turns import Usage

ANSWER_TOKENS = 4096
"""what is set aside for the answer of a model without a cap"""


def spent(response: ModelResponse) -> Usage | None:
    """Give what a whole response took; None where its provider did not say."""
    usage = response.usage
    if not (usage.input_tokens or usage.output_tokens):
        return None
    cost = usage.cost if usage.cost is not None else _price(response)
    return Usage(usage.input_tokens, usage.output_tokens, requests=1, cost=cost)


def estimate(
    model: Model,
    messages: Iterable[ModelMessage],
    parameters: ModelRequestParameters,
    settings: ModelSettings | None,
) -> Usage:
    """Estimate one request from above: all that is sent, and the longest answer the model is to give."""
    tools = sum(estimate_tokens(to_json(tool.parameters_json_schema).decode()) for tool in parameters.function_tools)
    answer = (settings or {}).get("max_tokens") or (model.settings or {}).get("max_tokens") or ANSWER_TOKENS
    window = model.context_window
    return priced(model, tokens_of_messages(messages) + tools, min(answer, window) if window else answer)


def priced(model: Model, input_tokens: int, output_tokens: int) -> Usage:
    usage = RequestUsage(input_tokens=input_tokens, output_tokens=output_tokens)
    response = ModelResponse(
        [], usage=usage, model_name=model.model_name, provider_name=model.system, provider_url=model.base_url
    )
    return Usage(input_tokens, output_tokens, requests=1, cost=_price(response))


def _price(response: ModelResponse) -> Decimal | None:
    try:
        return response.cost().total_price
    except (AssertionError, LookupError, ValueError):  # of a model without a name, or price, or with odd numbers
        return None
