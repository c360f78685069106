"""Starting the local model's child, and how often that may be tried."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from app.agents.llm.local_model_errors import ChildNotStarted
from app.agents.llm.local_model_home import ModelHome

_SHORTEST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_FORGIVEN_AFTER_S = 60.0

# The folder this program was imported from goes last on the path: nothing beside it may hide the standard library.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]); from app.agents.llm.local_model_process import main; main(*sys.argv[2:])"
)
_IMPORTED_FROM = Path(__file__).resolve().parents[3]

# What the child may see of our environment. It reads files from strangers; our keys are none of its business.
_PASSED_ON = ("HOME", "LANG", "PATH", "TMPDIR", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
_PASSED_ON_PREFIXES = ("LC_", "LD_", "DYLD_", "CUDA_", "HIP_", "OMP_", "GGML_")


def start_child(home: ModelHome, gguf: Path) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own, out of reach of the terminal's Ctrl-C, with none of our descriptors.

    Concurrency: whoever starts one too many does no harm: the child that finds another one ends with code 0.
    Errors:      ChildNotStarted.
    """
    command = [sys.executable, "-P", "-c", _PROGRAM, str(_IMPORTED_FROM), str(home.folder), str(gguf)]
    try:
        log = os.open(home.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            child = subprocess.Popen(  # noqa: S603 - our own program
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=child_environment(os.environ),
                start_new_session=True,
            )
        finally:
            os.close(log)
    except OSError as error:
        raise ChildNotStarted(error) from error
    # It may outlive our interest in it, and even us: somebody has to reap it until then.
    threading.Thread(target=child.wait, name="local-model-reaper", daemon=True).start()
    return child


def child_environment(ours: Mapping[str, str]) -> dict[str, str]:
    passed_on = {k: v for k, v in ours.items() if k in _PASSED_ON or k.startswith(_PASSED_ON_PREFIXES)}
    # On an abort, llama.cpp would run a debugger on itself, for seconds, with the lock still held.
    return passed_on | {"GGML_NO_BACKTRACE": "1"}


class StartPace:
    """How often a child may be started: at once, then at growing intervals while starts keep being needed.

    Intervals run between starts, so a child that lived longer than its interval is replaced without delay.
    """

    def __init__(self, *, jitter: Callable[[], float] = random.random) -> None:
        self._jitter = jitter
        self._starts = 0
        self._last_s = 0.0
        self._next_s = 0.0

    def allows(self, now_s: float) -> bool:
        return now_s >= self._next_s

    def note_start(self, now_s: float) -> None:
        if now_s - self._last_s > _FORGIVEN_AFTER_S:
            self._starts = 0
        pause_s = min(_SHORTEST_PAUSE_S * 2**self._starts, _LONGEST_PAUSE_S)
        self._starts = min(self._starts + 1, 16)
        self._last_s = now_s
        self._next_s = now_s + pause_s * (1 + self._jitter() / 2)
