"""How an operator's rule about calls of tools is written: a `[[tool_rules]]` of `gateway.toml`.

A row names variables of the environment and never holds what stands in them.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.kernel.rates import HOW_TO_WRITE, rate_of

WAYS = ("verdict", "rate_limit", "redact")


def _rate(text: str) -> str:
    if rate_of(text) is None:
        raise PydanticCustomError("rate", "is no rate; {mend}", {"mend": HOW_TO_WRITE})
    return text


type Pattern = Annotated[str, StringConstraints(min_length=1, max_length=255)]
type VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class ToolRuleRow(BaseModel):
    """`tools` and `origin` are patterns, as in APPROVAL_RULES; what the row says of those it fits is one of `WAYS`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tools: Pattern = "*"
    origin: Pattern = "*"
    risk: Literal["reads", "writes_inside", "writes_outside", "destroys"] | None = None
    verdict: Literal["allow", "ask", "deny"] | None = None
    because: str = Field(default="", max_length=500)
    rate_limit: Annotated[str, AfterValidator(_rate)] | None = None
    redact: tuple[VariableName, ...] = Field(default=(), max_length=100)

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        said = [way for way in WAYS if getattr(self, way)]
        if len(said) != 1:
            words = "says nothing" if not said else f"says {' and '.join(said)}"
            raise PydanticCustomError("ways", "{words}; give one of {ways}", {"words": words, "ways": ", ".join(WAYS)})
        if self.because and self.verdict is None:
            raise PydanticCustomError("because", "`because` goes with a verdict")
        return self


def unset(rules: Iterable[ToolRuleRow], known: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """Tell which variables a rule takes out of results that stand for nothing: the key, what is wrong, the mend."""
    for at, name in ((at, name) for at, rule in enumerate(rules) for name in rule.redact if not known.get(name)):
        yield f"tool_rules.{at}.redact", f"{name} is not set", f"set {name} in the environment or .env"
