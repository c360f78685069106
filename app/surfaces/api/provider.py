"""What the doors of our own API add to the container. It asks others for `Begin` and `Background`."""

from dishka import AnyOf, Provider, Scope, provide

from app.infra.db.keyed_requests import PostgresKeyedRequests
from app.infra.observability.background import Background, every
from app.kernel.keyed_requests import Receipts
from app.kernel.transaction import Begin
from app.surfaces.api.keyed_requests import RENEW_S, SWEEP_S, KeyedRequests, KeyedRequestStore
from app.surfaces.api.large_bodies import LargeBodies
from app.surfaces.api.operations import Catalogues


class ApiProvider(Provider):
    scope = Scope.APP

    @provide
    def catalogues(self) -> Catalogues:
        return Catalogues()

    @provide
    def large_bodies(self) -> LargeBodies:
        return LargeBodies()

    @provide
    def store(self, begin: Begin) -> AnyOf[KeyedRequestStore, Receipts]:
        return PostgresKeyedRequests(begin)

    @provide
    def keyed_requests(self, store: KeyedRequestStore, background: Background) -> KeyedRequests:
        desk = KeyedRequests(store)
        background.add("keyed requests", every(RENEW_S, desk.keep_holds))
        background.add("old keys", every(SWEEP_S, store.sweep))
        return desk
