"""What one slice needs of another, tied together so that neither knows the other: a part of the composition root."""

from dishka import Provider, Scope, provide

from app.agents.contract import FrontDoor
from app.agents.tools.front_door import FrontDoorAddress, HttpFrontDoor
from app.edge.edge import OnRequest
from app.edge.keys import Fetch
from app.edge.rate_limit_ledger import QuotaLedger
from app.edge.revocations import RevocationFeed, RevocationStore
from app.features.chats.clients import PostJson
from app.infra.db.quotas import PostgresQuotaLedger
from app.infra.db.revocation_feed import PostgresRevocationFeed
from app.infra.db.revocations import PostgresRevocationStore
from app.infra.http_client.client import HttpClient
from app.settings import Settings


class Wiring(Provider):
    scope = Scope.APP

    revocation_store = provide(PostgresRevocationStore, provides=RevocationStore)
    quota_ledger = provide(PostgresQuotaLedger, provides=QuotaLedger)
    revocation_feed = provide(PostgresRevocationFeed, provides=RevocationFeed)

    @provide
    def front_door_address(self, settings: Settings) -> FrontDoorAddress:
        return FrontDoorAddress(settings.front_door_url)

    @provide
    def front_door(self, http: HttpClient, address: FrontDoorAddress) -> FrontDoor:
        return HttpFrontDoor(http, address)

    @provide
    def on_request(self, address: FrontDoorAddress) -> OnRequest:
        return address.learn

    @provide
    def fetch_keys(self, http: HttpClient) -> Fetch:
        return http.fetch

    @provide
    def post_json(self, http: HttpClient) -> PostJson:
        return http.post_json
