"""Which model a name means, whether it can be used, and how it is made when it is first needed.

Names: "" (the default's default: the local model where it is installed), "none", "local", "scripted", and pydantic-ai's
`provider:model`; several with commas between are a chain, of which the first that is available answers.
Rule: importing this module, and asking it about names, imports no model library.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from app.agents.contract import ModelMisconfigured, ModelNotConfigured
from app.agents.llm.local_model import LocalModel
from app.agents.llm.local_model_errors import LocalModelUnavailable
from app.agents.llm.local_model_host import find_gguf, is_installed, require_gguf
from app.agents.llm.providers import check_provider
from app.agents.llm.standing import Standing

NONE = "none"
LOCAL = "local"
SCRIPTED = "scripted"

HOW_TO_CONFIGURE = (
    "Set DEFAULT_MODEL to a model's name, such as anthropic:claude-sonnet-5-5 with ANTHROPIC_API_KEY, or install the "
    'local model: pip install "portico-gateway[local-model]" and set LOCAL_MODEL_GGUF to a model file.'
)


def check_model(name: str, *, gguf: Path | None = None, environ: Mapping[str, str] = os.environ) -> None:
    """Find what would stop a model from being used; "" is always right. Cost: some file look-ups, no import.

    Errors: ModelMisconfigured, in one line that names the mend.
    """
    if name in {"", NONE}:
        return
    names = names_in(name)
    if len(set(names)) < len(names) or not all(names) or NONE in names:
        raise ModelMisconfigured(name, "is no chain", mend="write each model once, with one comma between two")
    for one in names:
        _check_one(one, gguf, environ)


def names_in(name: str) -> tuple[str, ...]:
    """Split a chain into the names of its models; that of one model is its own chain."""
    return tuple(one.strip() for one in name.split(","))


def _check_one(name: str, gguf: Path | None, environ: Mapping[str, str]) -> None:
    if name == LOCAL:
        try:
            require_gguf(gguf)
        except LocalModelUnavailable as error:
            raise ModelMisconfigured(name, "cannot be used", mend=str(error)) from error
    elif name != SCRIPTED:
        check_provider(name, environ)


@dataclass(frozen=True, slots=True)
class Models:
    """The models that agents may name; None stands for the default.

    `make` replaces how models are made, for tests; what it returns must be a model of pydantic-ai's, which this module
    cannot say in a type without importing it.
    """

    default: str
    local: LocalModel
    gguf: Path | None = None
    make: Callable[[str], object] | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    _standings: dict[str, Standing] = field(default_factory=dict, repr=False)

    def resolve(self, name: str | None) -> str:
        """Errors: ModelNotConfigured, when the default is asked for and there is none."""
        wanted = name or self.default
        if wanted and wanted != NONE:
            return wanted
        if wanted != NONE and is_installed() and (self.gguf or find_gguf()):
            return LOCAL
        raise ModelNotConfigured(HOW_TO_CONFIGURE)

    def check(self, name: str) -> None:
        """Errors: ModelMisconfigured."""
        if self.make is None:
            check_model(name, gguf=self.gguf, environ=self.environ)

    def load(self, name: str) -> object:
        """Make the model; the first time, its library is imported: up to seconds, so never on the event loop.

        Errors: ModelMisconfigured.
        """
        names = names_in(name)
        if len(names) == 1:
            return self._load_one(name)
        from app.agents.llm import loading  # noqa: PLC0415 - imports the model library

        models = [(one, self._load_one(one)) for one in names]
        return loading.load_chain(models, self._standings.setdefault(name, Standing(names)))

    def _load_one(self, name: str) -> object:
        if self.make is not None:
            return self.make(name)
        from app.agents.llm import loading  # noqa: PLC0415 - imports the model library

        if name == LOCAL:
            return loading.load_local(self.local)
        return loading.load_scripted() if name == SCRIPTED else loading.load_provided(name)

    def note(self, name: str) -> str:
        """Say which model of a chain is in use, where it is not the first; else nothing."""
        standing = self._standings.get(name)
        return standing.note if standing else ""

    async def trouble(self, name: str) -> str | None:
        """Tell why the model would not answer now; None when nothing is known. Providers are not asked: it costs."""
        if name in self._standings:
            return self._standings[name].trouble
        if name != LOCAL or self.make is not None:
            return None
        health = await self.local.health()
        return None if health.ok else "the local model is not answering at the moment"
