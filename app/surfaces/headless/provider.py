"""What a headless process adds to the container. It asks others for use cases, the event log and the table of roles."""

from math import inf

from dishka import Provider, Scope, provide

from app.agents.front_door import Credentials, FrontDoor
from app.agents.tools.front_door import FrontDoorAddress, HttpFrontDoor
from app.features.notifications.use_cases.read_deliveries import ReadDeliveries
from app.infra.db.keyed_requests import PostgresKeyedRequests
from app.infra.http_client.client import HttpClient
from app.kernel.clock import Clock
from app.kernel.identity import Principal, Role, RoleTable
from app.kernel.ids import UserId
from app.kernel.keyed_requests import Receipts
from app.kernel.transaction import Begin
from app.surfaces.headless.desk import OWNER, Deliveries, HeadlessDesk
from app.surfaces.headless.front_door import NoFrontDoor


class HeadlessProvider(Provider):
    scope = Scope.APP

    @provide
    def receipts(self, begin: Begin) -> Receipts:
        return PostgresKeyedRequests(begin)

    @provide
    def front_door(self, http: HttpClient, run_tokens: Credentials) -> FrontDoor:
        return NoFrontDoor(HttpFrontDoor(http, FrontDoorAddress(), run_tokens))

    @provide
    def owner(self, roles: RoleTable, clock: Clock) -> Principal:
        """Whoever starts the process: what runs do, they do in this name."""
        groups = roles.groups_of([Role.USER])
        return Principal(UserId(OWNER), Role.USER, groups, inf, issued_at=clock.time_s(), roles=(Role.USER,))

    deliveries = provide(ReadDeliveries, provides=Deliveries)
    desk = provide(HeadlessDesk)
