"""A model server that speaks the providers' protocols as it is told to: for everything that talks to a model over HTTP.

Runs in a thread of its own, or as a program: `python -m tests.model_server PORT`. What a protocol's wire looks like
stands in its own module, with the facts it keeps to; each is tested by the provider's own SDK.
"""

from tests.model_server.parts import Call, Drop, Failure, Hold, Part, Pause, Refuse, Reply, Think, Trouble, words
from tests.model_server.server import ModelServer, Request, echo, running_model_server

__all__ = [
    "Call",
    "Drop",
    "Failure",
    "Hold",
    "ModelServer",
    "Part",
    "Pause",
    "Refuse",
    "Reply",
    "Request",
    "Think",
    "Trouble",
    "echo",
    "running_model_server",
    "words",
]
