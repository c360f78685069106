"""The failure of a command that has words for it; alone in its file, because the supervisor imports it."""


class CommandFailed(Exception):
    """The message names what is wrong and the mend; `code` is the exit code."""

    def __init__(self, message: str, *, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
