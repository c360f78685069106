"""What a client says came of a call that a run put to it, and what there is to object to that."""

from collections.abc import Mapping
from dataclasses import dataclass

from app.kernel.errors import Conflict, Forbidden, NotFound
from app.kernel.values import Json

TOOL_RESULT_LIMIT_BYTES = 128 * 1024
TOOL_ERROR_LIMIT_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Posted:
    """The result, or an error in words where the client could not make the call."""

    nonce: str
    result: Json = None
    error: str | None = None

    @property
    def answer(self) -> Mapping[str, Json]:
        return {"result": self.result} if self.error is None else {"error": self.error}


class ToolCallNotFound(NotFound):
    """The run put no such call to its client, or it is not the caller's."""

    type = "tool-call-not-found"
    title = "There is no such call for a client"


class ToolCallExpired(Conflict):
    type = "tool-call-expired"
    title = "The client's time for the call is over"


class ToolResultTaken(Conflict):
    """Something was posted already, or the run is over."""

    type = "tool-result-taken"
    title = "The call waits for no result any more"


class ToolResultByAgent(Forbidden):
    """A run called with its own token: what a person's client is to say, no agent says."""

    type = "tool-result-by-agent"
    title = "An agent cannot post what a client is to post"
