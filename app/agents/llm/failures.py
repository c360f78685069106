"""What went wrong at a model, in our words: the one place that translates the model library's errors.

Rule: the provider's own text goes nowhere, neither into `detail` nor into `evidence` nor, as a cause, into a traceback:
it may name accounts, keys and prompts. What is told of it is its status, and its code where that is a plain word.
"""

import math
import re
from collections.abc import Callable

from pydantic_ai.exceptions import (
    AgentRunError,
    ContentFilterError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelTimeoutError,
    OutputTokenLimitExceeded,
    UsageLimitExceeded,
)

from app.agents.contract import AgentFailed, ModelUnavailable, TurnTooLong
from app.kernel.errors import Fault

MAX_RETRY_AFTER_S = 3600
_WORD = re.compile(r"[a-z]{1,20}(_[a-z]{1,20}){0,5}")
"""what a code may look like; anything else could be somebody's key"""
REFUSED = "The language model refused the request."
SILENT = "The language model did not answer in time."
PROMPT_TOO_LONG = "The message does not fit into the language model's window; say it shorter."

_LLAMA_OVERFLOW = "exceed_context_size_error"  # llama.cpp's server; the library knows only other providers' words

type Test = Callable[[AgentRunError], bool]


class Silent(Exception):
    """A model with others behind it said nothing for too long."""


def _is(*kinds: type[AgentRunError], statuses: tuple[int, ...] = ()) -> Test:
    def test(error: AgentRunError) -> bool:
        return isinstance(error, kinds) or (isinstance(error, ModelHTTPError) and error.status_code in statuses)

    return test


def is_overflow(error: AgentRunError) -> bool:
    """Tell whether the provider refused the prompt as too long."""
    is_llama = isinstance(error, ModelAPIError) and error.provider_error_type == _LLAMA_OVERFLOW
    return is_llama or isinstance(error, ModelContextWindowExceededError)


# First match wins; categories first, bare statuses for adapters that do not sort their errors.
_FACTS: tuple[tuple[Test, type[Fault], str], ...] = (
    (is_overflow, TurnTooLong, PROMPT_TOO_LONG),
    (_is(ModelQuotaExceededError, statuses=(402,)), ModelUnavailable, "The language model's account is used up."),
    (_is(ModelRateLimitError, statuses=(429,)), ModelUnavailable, "The language model takes no more requests for now."),
    (
        _is(ModelAuthenticationError, statuses=(401, 403)),
        ModelUnavailable,
        "The language model's provider refused this gateway's key.",
    ),
    (
        _is(ModelNotFoundError, statuses=(404,)),
        ModelUnavailable,
        "The provider does not know the language model that is configured.",
    ),
    (
        _is(ModelTimeoutError, ModelRequestTimeout, statuses=(408, 504)),
        ModelUnavailable,
        SILENT,
    ),
    (_is(ModelRequestRejectedError, statuses=(400, 413, 422)), AgentFailed, REFUSED),
    (_is(ModelAPIError), ModelUnavailable, "The language model cannot be reached at the moment."),
    (_is(UsageLimitExceeded), AgentFailed, "The agent took more steps than one turn may have."),
    (_is(ContentFilterError), AgentFailed, "The provider's content filter stopped the answer."),
    (_is(OutputTokenLimitExceeded), AgentFailed, "The answer was cut off before it said anything."),
    (_is(AgentRunError), AgentFailed, "The language model gave an answer that cannot be used."),
)


def as_fault(error: AgentRunError) -> Fault:
    fact, detail = next((fact, detail) for test, fact, detail in _FACTS if test(error))
    return fact(detail, headers=_retry_after(error), evidence=_evidence(error))


def outage_of(error: Exception) -> ModelUnavailable | None:
    """Give the fact that a model is unavailable, for which another may answer instead; None for all other errors."""
    if isinstance(error, Silent):
        return ModelUnavailable(SILENT)
    fault = as_fault(error) if isinstance(error, AgentRunError) else error
    return fault if isinstance(fault, ModelUnavailable) else None


def _retry_after(error: AgentRunError) -> dict[str, str]:
    wait_s = error.retry_after if isinstance(error, ModelAPIError) else None
    return {} if wait_s is None else {"Retry-After": str(min(max(math.ceil(wait_s), 1), MAX_RETRY_AFTER_S))}


def _evidence(error: AgentRunError) -> dict[str, object]:
    evidence: dict[str, object] = {"error": type(error).__name__}
    if isinstance(error, ModelAPIError):
        evidence["model"] = error.model_name
        if _WORD.fullmatch(str(error.provider_error_code)):
            evidence["provider_code"] = error.provider_error_code
    if isinstance(error, ModelHTTPError):
        evidence["status"] = error.status_code
    return evidence
