"""How the models of a chain are doing: which is asked first, which rests after an outage, and what to say of it.

No model library. Rule: a model that rests is asked all the same where no other is left.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

REST_S = 30.0
REST_LIMIT_S = 600.0
"""A provider may ask for days."""


@dataclass(frozen=True, slots=True)
class _Rest:
    until_s: float
    why: str


@dataclass(slots=True)
class Standing:
    """Concurrency: of one event loop; turns that run at once share it."""

    names: Sequence[str]
    now: Callable[[], float] = time.monotonic
    _rests: dict[str, _Rest] = field(default_factory=dict)

    def in_order(self) -> list[str]:
        """Give the names as they are to be asked: those that rest come last."""
        return sorted(self.names, key=self._is_resting)

    def failed(self, name: str, why: str, *, retry_after_s: float | None = None) -> None:
        rest_s = min(max(retry_after_s or 0, REST_S), REST_LIMIT_S)
        self._rests[name] = _Rest(self.now() + rest_s, why)

    def answered(self, name: str) -> None:
        self._rests.pop(name, None)

    @property
    def trouble(self) -> str | None:
        """Say what is wrong where none of them answered lately."""
        resting = [name for name in self.names if self._is_resting(name)]
        return self._why(resting) if len(resting) == len(self.names) else None

    @property
    def note(self) -> str:
        """Say which is in use, where it is not the first; else nothing."""
        resting = [name for name in self.names if self._is_resting(name)]
        in_use = self.in_order()[0]
        if not resting or in_use == self.names[0]:
            return ""
        return f"answered by {in_use}; {self._why(resting)}"

    def _why(self, resting: Sequence[str]) -> str:
        return "; ".join(f"{name}: {self._rests[name].why}" for name in resting)

    def _is_resting(self, name: str) -> bool:
        rest = self._rests.get(name)
        return rest is not None and self.now() < rest.until_s
