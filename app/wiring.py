"""What one slice needs of another, tied together so that neither knows the other: a part of the composition root."""

from dishka import Provider, Scope, alias, provide

from app.agents.contract import FrontDoor
from app.agents.tools.front_door import Credentials, FrontDoorAddress, HttpFrontDoor
from app.edge.edge import OnRequest
from app.edge.keys import Fetch
from app.edge.live_runs import RunSource
from app.edge.rate_limit_ledger import QuotaLedger
from app.edge.revocations import RevocationFeed, Revocations, RevocationStore
from app.features.chats.clients import PostJson
from app.infra.db.quotas import PostgresQuotaLedger
from app.infra.db.revocation_feed import PostgresRevocationFeed
from app.infra.db.revocations import PostgresRevocationStore
from app.infra.durable.live_tokens import PostgresRunSource
from app.infra.durable.ports import Engine
from app.infra.durable.run_tokens import RunTokens
from app.infra.durable.withdrawn_runs import ActiveRuns, StopWithdrawnRuns
from app.infra.http_client.client import HttpClient
from app.infra.observability.background import Background
from app.kernel.worker import WorkerPlace
from app.settings import Settings


class Wiring(Provider):
    scope = Scope.APP

    revocation_store = provide(PostgresRevocationStore, provides=RevocationStore)
    quota_ledger = provide(PostgresQuotaLedger, provides=QuotaLedger)
    revocation_feed = provide(PostgresRevocationFeed, provides=RevocationFeed)
    run_source = alias(PostgresRunSource, provides=RunSource)
    credentials = alias(RunTokens, provides=Credentials)

    @provide
    def front_door_address(self, settings: Settings) -> FrontDoorAddress:
        return FrontDoorAddress(settings.front_door_url)

    @provide
    def front_door(self, http: HttpClient, address: FrontDoorAddress, run_tokens: Credentials) -> FrontDoor:
        return HttpFrontDoor(http, address, run_tokens)

    @provide
    def withdrawn_runs(
        self, runs: ActiveRuns, engine: Engine, known: Revocations, background: Background, place: WorkerPlace
    ) -> StopWithdrawnRuns:
        stop = StopWithdrawnRuns(runs, engine, known.refuses)
        known.subscribe(stop.hear)
        if place.index == 0:  # one of them is enough to look at what was withdrawn while nobody was there
            stop.look_at_all()
        background.add("withdrawn runs", stop.work)
        return stop

    @provide
    def on_request(self, address: FrontDoorAddress) -> OnRequest:
        return address.learn

    @provide
    def fetch_keys(self, http: HttpClient) -> Fetch:
        return http.fetch

    @provide
    def post_json(self, http: HttpClient) -> PostJson:
        return http.post_json
