"""What it is called when a server is not there."""


class ServerAway(Exception):
    """No connection to the server; the message says why, in words for the log, for STAFF and for a model."""


def first_of(error: BaseException) -> BaseException:
    """Give the error itself, or of a group the one that came first."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
