"""Read a Dockerfile, and carry out a stage of it in a folder that stands for the image's root."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

RUN_LIMIT_S = 300


@dataclass(frozen=True, slots=True)
class Instruction:
    word: str
    rest: str

    def words(self) -> list[str]:
        """The arguments, of the JSON form and of the plain one."""
        words: list[str] = json.loads(self.rest) if self.rest.startswith("[") else shlex.split(self.rest)
        return words


@dataclass(frozen=True, slots=True)
class Stage:
    base: str
    name: str
    steps: Sequence[Instruction]

    def of(self, word: str) -> list[Instruction]:
        return [step for step in self.steps if step.word == word]

    def last(self, word: str) -> Instruction:
        return self.of(word)[-1]

    def variables(self, word: str) -> dict[str, str]:
        """What ENV or ARG sets, with defaults."""
        pairs = [pair.partition("=") for step in self.of(word) for pair in shlex.split(step.rest)]
        return {name: value for name, _, value in pairs}


def read_dockerfile(text: str) -> list[Stage]:
    """Split into stages. Only what our Dockerfile uses is understood: comments, continued lines, FROM ... AS."""
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", plain).splitlines()
    steps = [
        Instruction(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]
    starts = [number for number, step in enumerate(steps) if step.word == "FROM"]
    stages = []
    for start, end in zip(starts, [*starts[1:], len(steps)], strict=True):
        base, _, name = steps[start].rest.partition(" AS ")
        stages.append(Stage(base, name, steps[start + 1 : end]))
    return stages


@dataclass(slots=True)
class Root:
    """A folder in place of `/`: absolute paths of the Dockerfile lie below it, nothing outside it is changed."""

    folder: Path
    context: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"

    def path(self, inside: str) -> Path:
        return self.folder / (Path(self.workdir) / inside).relative_to("/")

    def below(self, value: str) -> str:
        """Move the absolute paths in a variable's value, a PATH among them, under this root."""
        parts = (f"{self.folder}{part}" if part.startswith("/") else part for part in value.split(":"))
        return ":".join(parts)

    def carry_out(self, stage: Stage, outside: Mapping[str, str]) -> Self:
        """Do every COPY and RUN of a stage, in order, with the variables of the stage around them.

        Errors: subprocess.CalledProcessError with what a command printed.
        """
        self.environment |= {name: self.below(value) for name, value in stage.variables("ENV").items()}
        self.environment |= stage.variables("ARG")
        for step in stage.steps:
            if step.word == "WORKDIR":
                self.workdir = step.rest
                self.path(".").mkdir(parents=True, exist_ok=True)
            elif step.word == "COPY":
                self._copy(step.words())
            elif step.word == "RUN":
                self._run(step.rest, outside)
        return self

    def _copy(self, words: Sequence[str]) -> None:
        *sources, target = words
        for source in sources:
            found = self.context / source
            if found.is_dir():
                shutil.copytree(
                    found, self.path(target), ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
                )
            else:
                shutil.copy(found, self.path(target))

    def _run(self, command: str, outside: Mapping[str, str]) -> None:
        subprocess.run(
            ["/bin/sh", "-c", command],
            cwd=self.path("."),
            env={**self.environment, **outside},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=RUN_LIMIT_S,
            check=True,
        )


def outside_environment(*unwanted: str) -> dict[str, str]:
    """Our own variables, for proxies, certificates and caches, without those that would point back at this checkout."""
    mine = {"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME", *unwanted}
    return {name: value for name, value in os.environ.items() if name not in mine and not name.startswith("COV")}
