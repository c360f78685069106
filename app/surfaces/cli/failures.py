"""What an operator can mend, in one line each: the errors a command may end with, and the exit code."""

from app.agents.contract import AgentBroken, ModelMisconfigured
from app.infra.db.embedded.errors import EmbeddedPostgresUnavailable
from app.infra.db.errors import StorageUnavailable
from app.settings import ConfigurationInvalid
from app.surfaces.cli.command_failed import CommandFailed

MENDABLE = (
    CommandFailed,
    ConfigurationInvalid,
    EmbeddedPostgresUnavailable,
    StorageUnavailable,
    AgentBroken,
    ModelMisconfigured,
)


def lines_of(error: BaseException) -> tuple[int, list[str]]:
    """Tell the exit code and the lines to print."""
    if isinstance(error, ConfigurationInvalid):
        return 2, [str(problem) for problem in error.problems]
    if isinstance(error, CommandFailed):
        return error.code, [str(error)]
    if isinstance(error, AgentBroken | ModelMisconfigured):
        return 2, [str(error)]
    return 1, [str(error)]
