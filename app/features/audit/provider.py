"""What the slice adds to the container. It asks others for `Begin`."""

from dishka import AnyOf, Provider, Scope, provide

from app.features.audit.ports import AuditStore
from app.features.audit.repository import PostgresAuditStore
from app.features.audit.use_cases.list_audit import ListAudit
from app.kernel.audit import AuditTrail


class AuditProvider(Provider):
    """The trail by its port, so that a provider given after this one replaces it."""

    scope = Scope.APP

    list_audit = provide(ListAudit)

    @provide
    def store(self) -> AnyOf[AuditStore, AuditTrail]:
        return PostgresAuditStore()
