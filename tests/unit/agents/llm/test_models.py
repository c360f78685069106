"""Model names: what each means, and what is said of one that cannot be used."""

from contextlib import suppress
from pathlib import Path

import pytest
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers import infer_provider_class

from app.agents.contract import ModelMisconfigured, ModelNotConfigured
from app.agents.llm.models import LOCAL, Models, check_model
from app.agents.llm.providers import PROVIDERS, base_url_variable
from tests.unit.agents.desk import no_local_model


@pytest.mark.parametrize(
    ("name", "environ"),
    [
        ("", {}),
        ("scripted", {}),
        ("openai:gpt-x", {"OPENAI_API_KEY": "k"}),
        ("openai-chat:llama", {"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}),
        ("ollama:llama3", {"OLLAMA_BASE_URL": "http://127.0.0.1:1/v1"}),
    ],
)
def test_a_usable_name_passes(name: str, environ: dict[str, str]) -> None:
    check_model(name, environ=environ)


@pytest.mark.parametrize(
    ("name", "mend"),
    [
        ("openai:gpt-x", "set OPENAI_API_KEY or OPENAI_BASE_URL"),
        ("ollama:llama3", "set OLLAMA_BASE_URL"),
        ("gemini:flash", "write google:flash"),
        ("google-gla:flash", "write google:flash"),
        ("google-vertex:flash", "write google-cloud:flash"),
        ("gpt-4o", "write openai:gpt-4o"),
        ("claude-x", "write anthropic:claude-x"),
        ("openai:", "write openai:MODEL"),
        ("nobody:model", "anthropic:"),
        ("nonsense", "write local, scripted, or one of"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_with_its_mend(name: str, mend: str) -> None:
    with pytest.raises(ModelMisconfigured) as caught:
        check_model(name, environ={})

    assert mend in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "install"),
    [
        ("anthropic:claude", 'pip install "portico-gateway[anthropic]"'),
        ("groq:llama", 'pip install "portico-gateway[groq]"'),
        ("google:flash", 'pip install "portico-gateway[google]"'),
        ("mistral:large", 'pip install "pydantic-ai-slim[mistral]"'),
    ],
)
def test_a_missing_extra_is_named(name: str, install: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.agents.llm.providers.find_spec", lambda module: None)

    with pytest.raises(ModelMisconfigured) as caught:
        check_model(name, environ={})

    assert caught.value.mend == install


def test_a_missing_parent_of_a_module_is_a_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_google(module: str) -> None:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr("app.agents.llm.providers.find_spec", no_google)

    with pytest.raises(ModelMisconfigured, match=r"portico-gateway\[google\]"):
        check_model("google:flash", environ={})


@pytest.mark.parametrize("prefix", PROVIDERS)
def test_the_table_of_providers_is_the_librarys(prefix: str) -> None:
    with suppress(ImportError):  # known, but its extra is not installed; an unknown prefix is a ValueError
        assert infer_provider_class(prefix).__name__.endswith("Provider")


def test_a_local_model_that_was_asked_for_but_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.agents.llm.local_model_host.is_installed", lambda: False)

    with pytest.raises(ModelMisconfigured, match=r"portico-gateway\[local-model\]"):
        check_model(LOCAL)


def test_a_model_file_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("app.agents.llm.local_model_host.is_installed", lambda: True)

    with pytest.raises(ModelMisconfigured, match="LOCAL_MODEL_GGUF"):
        check_model(LOCAL, gguf=tmp_path / "none.gguf")


@pytest.mark.parametrize(
    ("default", "asked", "found"),
    [("scripted", None, "scripted"), ("scripted", "openai:x", "openai:x"), ("local", None, "local")],
)
def test_an_agents_own_model_goes_before_the_default(default: str, asked: str | None, found: str) -> None:
    assert Models(default, no_local_model()).resolve(asked) == found


def test_the_local_model_is_the_default_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.agents.llm.models.is_installed", lambda: True)

    assert Models("", no_local_model(), gguf=Path("m.gguf")).resolve(None) == LOCAL


@pytest.mark.parametrize(
    ("is_installed", "gguf"), [(False, Path("m.gguf")), (True, None)], ids=["no library", "no file"]
)
def test_without_a_default_the_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, *, is_installed: bool, gguf: Path | None
) -> None:
    monkeypatch.setattr("app.agents.llm.models.is_installed", lambda: is_installed)
    monkeypatch.setattr("app.agents.llm.models.find_gguf", lambda: None)

    with pytest.raises(ModelNotConfigured, match="DEFAULT_MODEL"):
        Models("", no_local_model(), gguf=gguf).resolve(None)


@pytest.mark.parametrize("name", ["local", "scripted", "openai-chat:some"])
def test_a_model_is_made_of_a_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k")

    model = Models("", no_local_model()).load(name)

    assert isinstance(model, Model)


def test_the_local_model_has_a_cap_a_window_and_no_tools() -> None:
    model = Models("", no_local_model()).load("local")

    assert isinstance(model, OpenAIChatModel)
    assert (model.settings or {}).get("max_tokens") == 120
    assert model.context_window == 1536
    assert model.profile.get("supports_tools") is False


def test_what_only_the_provider_can_refuse_is_refused_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "OPENAI_API_VERSION"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ModelMisconfigured, match=r"azure_endpoint|AZURE_OPENAI_ENDPOINT"):
        Models("", no_local_model()).load("azure:gpt")


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("anthropic:m", "ANTHROPIC_BASE_URL"),
        ("openai:m", "OPENAI_BASE_URL"),
        ("openai-chat:m", "OPENAI_BASE_URL"),
        ("groq:m", "GROQ_BASE_URL"),
        ("fireworks:m", "FIREWORKS_BASE_URL"),
        ("ollama:m", "OLLAMA_BASE_URL"),
        ("google:m", "GOOGLE_GEMINI_BASE_URL"),
        ("openrouter:openai/m", "OPENROUTER_BASE_URL"),
    ],
)
def test_every_provider_can_be_asked_elsewhere(name: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for needed in PROVIDERS[name.partition(":")[0]].variables:
        monkeypatch.setenv(needed, "k")
    monkeypatch.setenv(variable, "http://127.0.0.1:9/there")

    model = Models("", no_local_model()).load(name)

    assert isinstance(model, Model)
    client = getattr(model, "client", None)  # of OpenAI's SDK, with which the provider's own address stays as it was
    assert "127.0.0.1:9/there" in f"{model.base_url} {getattr(client, 'base_url', '')}"
    assert base_url_variable(name) == variable
