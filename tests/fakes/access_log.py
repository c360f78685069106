"""The access log where `capture_logs` hears it: through structlog, at once."""

from dishka import Provider, Scope, provide

from app.edge.access_log import AccessLog, StructlogAccessLog


class HeardAccessLog(Provider):
    scope = Scope.APP

    access_log = provide(StructlogAccessLog, provides=AccessLog)
