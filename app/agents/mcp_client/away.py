"""What it is called when a server is not there."""


class ServerAway(Exception):
    """No connection to the server; the message says why, in words for the log, for STAFF and for a model."""
