"""The providers, and what their SDKs are told so that they ask a server of ours."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.agents.llm.providers import base_url_variable
from tests.model_server.server import ModelServer


@dataclass(frozen=True, slots=True)
class Provider:
    """`path` is where the server speaks its protocol, `key` the variable its SDK reads."""

    model: str
    path: str
    key: str

    def environ(self, server: ModelServer) -> Mapping[str, str]:
        return {base_url_variable(self.model): f"{server.root}{self.path}", self.key: "k-1"}


PROVIDERS = {
    "anthropic": Provider("anthropic:claude-sonnet-5-5", "", "ANTHROPIC_API_KEY"),
    "openai chat": Provider("openai-chat:gpt-4.1", "/v1", "OPENAI_API_KEY"),
    "openai responses": Provider("openai:gpt-4.1", "/v1", "OPENAI_API_KEY"),
    "groq": Provider("groq:llama-3.3-70b-versatile", "/groq", "GROQ_API_KEY"),
    "fireworks": Provider("fireworks:accounts/fireworks/models/gpt-oss-20b", "/inference/v1", "FIREWORKS_API_KEY"),
    "ollama": Provider("ollama:qwen3", "/ollama/v1", "OLLAMA_API_KEY"),
    "gemini": Provider("google:gemini-2.5-flash", "", "GOOGLE_API_KEY"),
}
