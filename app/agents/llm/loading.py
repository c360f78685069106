"""Makes the model of a name: the provider's library is imported here, so this runs in a thread, once a name.

Retries are the SDKs' own (two, with growing waits, only for what a second try can mend; Google's has to be told so);
each makes its own HTTP client, with five seconds to connect, closed with the model (`async with model`).
"""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from openai import AsyncOpenAI
from pydantic_ai import RunContext
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers import Provider, infer_provider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from app.agents.contract import ModelMisconfigured, ModelUnavailable
from app.agents.llm.chain import ChainModel
from app.agents.llm.local_model import MODEL_NAME, Endpoint, LocalModel
from app.agents.llm.local_model_errors import LocalModelUnavailable
from app.agents.llm.providers import base_url_variable
from app.agents.llm.scripted import ScriptedModel
from app.agents.llm.standing import Standing

GOOGLE_ATTEMPTS = 3
GOOGLE_FIRST_WAIT_S = 0.5
LOCAL_ANSWER_TOKENS = 120
LOCAL_TEMPERATURE = 0.2  # what the makers of SmolLM2 recommend
LOCAL_REPEAT_PENALTY = 1.1  # without it a small model runs in circles until its cap
LOCAL_WINDOW_TOKENS = 1536
"""Less than the child takes: a shared processor reads 50 to 150 tokens a second, and a turn has a minute."""


def load_local(local: LocalModel) -> Model:
    return LocalChatModel(local)


def load_chain(models: Sequence[tuple[str, object]], standing: Standing) -> Model:
    """Make one of several; `standing` is told how they do."""
    return ChainModel([(name, model) for name, model in models if isinstance(model, Model)], standing)


def load_scripted() -> Model:
    return ScriptedModel()


def load_provided(name: str, environ: Mapping[str, str] = os.environ) -> Model:
    """Errors: ModelMisconfigured, for what only the provider's own code can find."""
    try:
        model = infer_model(name, _provider)
    except ImportError as error:
        raise ModelMisconfigured(name, "cannot be imported", mend=_one_line(error)) from error
    except (UserError, ValueError) as error:
        raise ModelMisconfigured(name, "is refused by its library", mend=_one_line(error)) from error
    client = getattr(model, "client", None)
    address = environ.get(base_url_variable(name))
    if address and isinstance(client, AsyncOpenAI):
        client.base_url = address  # not every provider that speaks OpenAI's language reads a variable of its own
    return model


# Any: the client of whichever SDK it is
def _provider(name: str) -> Provider[Any]:
    if name != "google":
        return infer_provider(name)
    from google.genai.types import HttpRetryOptions  # noqa: PLC0415 - only where its extra is installed
    from pydantic_ai.providers.google import GoogleProvider  # noqa: PLC0415 - as above

    wait_s = GOOGLE_FIRST_WAIT_S
    retries = HttpRetryOptions(attempts=GOOGLE_ATTEMPTS, initial_delay=wait_s, jitter=wait_s)
    return GoogleProvider(retry_options=retries)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


class LocalChatModel(OpenAIChatModel):
    """The local child as a model. It may be restarted at another port, so the address is taken for each request."""

    def __init__(self, local: LocalModel) -> None:
        # the address is a placeholder that nothing listens at
        provider = OpenAIProvider(base_url="http://127.0.0.1:9/v1", api_key="none-yet")
        settings = ModelSettings(
            max_tokens=LOCAL_ANSWER_TOKENS,
            temperature=LOCAL_TEMPERATURE,
            extra_body={"repeat_penalty": LOCAL_REPEAT_PENALTY},  # llama.cpp's own, not in the OpenAI schema
        )
        profile = OpenAIModelProfile(supports_tools=False, supports_image_input=False, supports_document_input=False)
        super().__init__(MODEL_NAME, provider=provider, profile=profile, settings=settings)
        self._local = local

    @property
    def context_window(self) -> int:
        try:
            return min(self._local.endpoint.context_tokens, LOCAL_WINDOW_TOKENS)
        except LocalModelUnavailable:
            return LOCAL_WINDOW_TOKENS

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        self._find()
        return await super().request(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        # Any: the library's own, whatever the turn's dependencies are
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        self._find()
        async with super().request_stream(messages, model_settings, model_request_parameters, run_context) as streamed:
            yield streamed

    def _find(self) -> None:
        endpoint = self._endpoint()
        self.client.base_url = endpoint.base_url
        self.client.api_key = endpoint.api_key

    def _endpoint(self) -> Endpoint:
        try:
            return self._local.endpoint
        except LocalModelUnavailable as error:
            detail = "The local language model is not there at the moment; it is being started, try again."
            raise ModelUnavailable(detail, headers={"Retry-After": "2"}, evidence={"cause": str(error)}) from error
