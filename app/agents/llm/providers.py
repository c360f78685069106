"""What a model name may start with, and what each such provider needs before it can be used. No provider is imported.

The prefixes are pydantic-ai's; a test holds the table against the installed version.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec

from app.agents.contract import ModelMisconfigured


@dataclass(frozen=True, slots=True)
class ProviderNeeds:
    """`module` must be importable; one of `variables` must be set, unless there are none.

    `extra` is ours when `is_ours`, else pydantic-ai's.
    """

    module: str
    extra: str
    variables: tuple[str, ...] = ()
    is_ours: bool = True

    @property
    def install(self) -> str:
        return f'pip install "{"portico-gateway" if self.is_ours else "pydantic-ai-slim"}[{self.extra}]"'


def _compatible(*variables: str) -> ProviderNeeds:
    return ProviderNeeds("openai", "", variables)


def _foreign(module: str, extra: str, *variables: str) -> ProviderNeeds:
    return ProviderNeeds(module, extra, variables, is_ours=False)


_OPENAI = _compatible("OPENAI_API_KEY", "OPENAI_BASE_URL")

PROVIDERS: Mapping[str, ProviderNeeds] = {
    "openai": _OPENAI,
    "openai-chat": _OPENAI,
    "openai-responses": _OPENAI,
    "anthropic": ProviderNeeds("anthropic", "anthropic", ("ANTHROPIC_API_KEY",)),
    "groq": ProviderNeeds("groq", "groq", ("GROQ_API_KEY",)),
    "google": ProviderNeeds("google.genai", "google", ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
    "google-cloud": ProviderNeeds("google.genai", "google"),
    "ollama": _compatible("OLLAMA_BASE_URL"),
    "vllm": _compatible("VLLM_BASE_URL"),
    "litellm": _compatible(),
    "openrouter": _compatible("OPENROUTER_API_KEY"),
    "deepseek": _compatible("DEEPSEEK_API_KEY"),
    "together": _compatible("TOGETHER_API_KEY"),
    "fireworks": _compatible("FIREWORKS_API_KEY"),
    "azure": _compatible(),
    "cerebras": _compatible("CEREBRAS_API_KEY"),
    "crusoe": _compatible("CRUSOE_API_KEY"),
    "github": _compatible("GITHUB_API_KEY"),
    "meta": _compatible("META_API_KEY"),
    "zai": _compatible("ZAI_API_KEY"),
    "moonshotai": _compatible("MOONSHOTAI_API_KEY"),
    "nebius": _compatible("NEBIUS_API_KEY"),
    "ovhcloud": _compatible("OVHCLOUD_API_KEY"),
    "sambanova": _compatible("SAMBANOVA_API_KEY"),
    "alibaba": _compatible("ALIBABA_API_KEY", "DASHSCOPE_API_KEY"),
    "heroku": _compatible("HEROKU_INFERENCE_KEY"),
    "vercel": _compatible("VERCEL_AI_GATEWAY_API_KEY", "VERCEL_OIDC_TOKEN"),
    "mistral": _foreign("mistralai", "mistral", "MISTRAL_API_KEY"),
    "cohere": _foreign("cohere", "cohere", "CO_API_KEY"),
    "bedrock": _foreign("boto3", "bedrock"),
    "huggingface": _foreign("huggingface_hub", "huggingface", "HF_TOKEN"),
    "xai": _foreign("xai_sdk", "xai", "XAI_API_KEY"),
}

_BASE_URLS = {
    "google": "GOOGLE_GEMINI_BASE_URL",
    "google-cloud": "GOOGLE_VERTEX_BASE_URL",
    "openai-chat": "OPENAI_BASE_URL",
    "openai-responses": "OPENAI_BASE_URL",
    "azure": "AZURE_OPENAI_ENDPOINT",
}
"""where the variable is not the provider's name with _BASE_URL behind it"""

_RENAMED = {"gemini": "google", "google-gla": "google", "google-vertex": "google-cloud"}
_BARE = {r"gpt-|o\d|chatgpt": "openai", r"claude": "anthropic", r"gemini": "google"}


def base_url_variable(name: str) -> str:
    """Name the variable that says where the provider of a model is asked instead of at its own address."""
    prefix = name.partition(":")[0]
    return _BASE_URLS.get(prefix, f"{prefix.upper().replace('-', '_')}_BASE_URL")


def check_provider(name: str, environ: Mapping[str, str]) -> None:
    """Find what would stop a model of this name from being used, without importing its library.

    Errors: ModelMisconfigured, naming the extra, the variable, or the right spelling.
    """
    prefix, colon, model = name.partition(":")
    needs = PROVIDERS.get(prefix)
    if needs is None or not colon or not model:
        raise _misspelt(name, prefix if colon else "", model)
    if not _is_importable(needs.module):
        raise ModelMisconfigured(name, f"needs the package {needs.module}, which is not installed", mend=needs.install)
    if needs.variables and not any(environ.get(variable) for variable in needs.variables):
        raise ModelMisconfigured(name, "has no credentials", mend=f"set {' or '.join(needs.variables)}")


def _misspelt(name: str, prefix: str, model: str) -> ModelMisconfigured:
    if prefix in _RENAMED:
        return ModelMisconfigured(name, "is an old spelling", mend=f"write {_RENAMED[prefix]}:{model}")
    if prefix in PROVIDERS:
        return ModelMisconfigured(name, "names no model", mend=f"write {prefix}:MODEL")
    guess = next((provider for pattern, provider in _BARE.items() if re.match(pattern, name)), None)
    if not prefix and guess:
        return ModelMisconfigured(name, "does not say whose it is", mend=f"write {guess}:{name}")
    known = ", ".join(f"{provider}:" for provider in PROVIDERS)
    return ModelMisconfigured(
        name, "is of no known provider", mend=f"write local, scripted, or one of {known} and a name"
    )


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        return False
