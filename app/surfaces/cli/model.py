"""Which model the agents get, told without importing any."""

from app.agents.llm.local_model_host import find_gguf, is_installed
from app.agents.llm.models import LOCAL, NONE
from app.settings import Settings


def default_model(settings: Settings) -> str | None:
    """Name the model that `DEFAULT_MODEL` means on this machine; None when there is none."""
    if settings.default_model:
        return None if settings.default_model == NONE else settings.default_model
    return LOCAL if is_installed() and (settings.local_model_gguf or find_gguf()) else None
