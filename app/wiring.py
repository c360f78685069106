"""Which parts a process is made of, by what it does, and what one slice needs from another."""

import os
from collections.abc import Sequence

from dishka import AnyOf, Provider, Scope, alias, provide

from app.agents.approvals.guard import AskFirst
from app.agents.contract import AgentDirectory
from app.agents.front_door import Credentials, FrontDoor
from app.agents.installing import InstallTemplates
from app.agents.presence import Presence
from app.agents.provider import AgentsElsewhere, AgentsProvider
from app.agents.runner import AgentRunner
from app.agents.tools.front_door import FrontDoorAddress, HttpFrontDoor
from app.agents.tools.interceptors import Interceptors
from app.agents.tools.ruled import interceptors_of
from app.edge.api_keys import ApiKeySource
from app.edge.edge import OnRequest
from app.edge.keys import Fetch
from app.edge.live_runs import RunSource
from app.edge.provider import EdgeProvider, role_table
from app.edge.rate_limit_ledger import QuotaLedger
from app.edge.reload import OnReload, Reload
from app.edge.revocations import RevocationFeed, Revocations, RevocationStore
from app.edge.session_tokens import SessionSigner
from app.edge.withdrawals import OnWithdrawing, WithdrawMark
from app.features.approvals.provider import ApprovalsAtWork, ApprovalsProvider, ApprovalStores
from app.features.attachments.provider import AttachmentsProvider, AttachmentStores
from app.features.audit.provider import AuditProvider
from app.features.audit.use_cases.record_later import RecordLater
from app.features.backups.provider import BackupsProvider
from app.features.chats.clients import PostJson
from app.features.chats.ports import MessageHook
from app.features.chats.provider import ChatsProvider, ChatStores, TurnHandlers, TurnsElsewhere, TurnsProvider
from app.features.completions.provider import (
    CompletionHandlers,
    CompletionsAtWork,
    CompletionsElsewhere,
    CompletionsProvider,
)
from app.features.delegations.provider import DelegationHandlers, DelegationsAtWork, DelegationsElsewhere
from app.features.keys.ports import Withdrawal
from app.features.keys.provider import KeysProvider
from app.features.keys.repository import PostgresApiKeySource
from app.features.keys.use_cases.delete_key import DropWithdrawn
from app.features.memory.provider import MemoryAtWork, MemoryProvider, MemoryStores
from app.features.notifications.ports import Preferences
from app.features.notifications.provider import NotificationsAtWork, NotificationsProvider, NotificationStores
from app.features.notifications.repository.watch import DeliveryWatch
from app.features.notifications.use_cases.deliver_due import DeliverDue
from app.features.notifications.use_cases.notify import Notify
from app.features.runs.ports import RunStore
from app.features.runs.provider import RunsAtTheDoor, RunsAtWork, RunsProvider
from app.features.tasks.gate import TaskNotices
from app.features.tasks.ports import DeliveryStore, Outcomes, Standing, TaskStore
from app.features.tasks.provider import (
    TaskHandlers,
    TasksAtWork,
    TasksElsewhere,
    TasksProvider,
    TaskStores,
    WebhooksProvider,
)
from app.features.tasks.use_cases.keep_schedules import KeepSchedules
from app.features.usage.ports import Ledger, UsageStore
from app.features.usage.provider import UsageProvider
from app.features.widgets.provider import (
    WidgetHandlers,
    WidgetsAtWork,
    WidgetsElsewhere,
    WidgetsProvider,
    WidgetStores,
)
from app.infra.db.engine import Database
from app.infra.db.hints import PostgresHints
from app.infra.db.quotas import PostgresQuotaLedger
from app.infra.db.revocation_feed import PostgresRevocationFeed
from app.infra.db.revocations import PostgresRevocationStore
from app.infra.db.standing import PostgresStanding
from app.infra.durable.key_ring import KeyRing, SigningKeys
from app.infra.durable.live_tokens import PostgresRunSource
from app.infra.durable.ports import Engine, Handlers
from app.infra.durable.run_tokens import RunTokens
from app.infra.durable.session_tokens import SessionTokens
from app.infra.durable.watch import EngineWatch
from app.infra.durable.withdrawn_runs import ActiveRuns, StopWithdrawnRuns
from app.infra.http_client.client import HttpClient
from app.infra.observability.background import Background
from app.infra.observability.siblings import Siblings
from app.infra.openapi.fleet import FleetDescription
from app.infra.openapi.news import FLEET, FleetNews
from app.infra.provider import DescriptionProvider, InfraProvider
from app.kernel.audit import Act, AuditTrail
from app.kernel.clock import Clock
from app.kernel.identity import RoleTable
from app.kernel.ids import UserId
from app.kernel.run_tokens import AUDIENCE
from app.kernel.session_tokens import KEY_ID_PREFIX
from app.kernel.transaction import Begin
from app.kernel.values import Json
from app.kernel.worker import ProcessRole, WorkerPlace
from app.settings import FROM_THE_FILE, Settings
from app.surfaces.api.keyed_requests import KeyedRequests
from app.surfaces.api.provider import ApiProvider
from app.surfaces.headless.provider import HeadlessProvider
from app.surfaces.jobs.provider import JobsProvider
from app.surfaces.mcp.controller import AllowedOrigins
from app.surfaces.mcp.provider import McpProvider
from app.surfaces.mcp.shown_settings import shown
from app.surfaces.mcp.system_tools import ShownSettings
from app.surfaces.openai.provider import OpenAIProvider
from app.surfaces.streams.open_streams import OpenStreams
from app.surfaces.streams.provider import StreamsProvider
from app.surfaces.widgets.provider import VisitsProvider

_EVERYWHERE: Sequence[type] = (Database, EngineWatch, Ledger, UsageStore, DeliveryWatch)
_AT_THE_DOOR: Sequence[type] = (
    MessageHook,
    FleetDescription,
    StopWithdrawnRuns,
    KeyedRequests,
    OpenStreams,
    DeliveryStore,
)
_AT_WORK: Sequence[type] = (AgentRunner, Presence, DeliverDue, KeepSchedules)


def parts_of(role: ProcessRole) -> Sequence[type]:
    """List what is to be opened, in order; each brings its own background work."""
    match role:
        case ProcessRole.WEB:
            return (*_EVERYWHERE, AgentDirectory, *_AT_THE_DOOR)
        case ProcessRole.WORKER | ProcessRole.HEADLESS:
            return (*_EVERYWHERE, Siblings, *_AT_WORK)
        case ProcessRole.ALL:
            return (*_EVERYWHERE, *_AT_WORK, *_AT_THE_DOOR)


def providers_of(role: ProcessRole) -> Sequence[Provider]:
    """List what a process is made of. One that only answers requests never loads a model library."""
    shared = (
        InfraProvider(),
        Wiring(),
        RunsProvider(),
        UsageProvider(),
        AuditProvider(),
        NotificationStores(),
        ApprovalStores(),
        TaskStores(),
        WidgetStores(),
        MemoryStores(),
        AttachmentStores(),
    )
    door = (
        EdgeProvider(),
        DescriptionProvider(),
        DoorWiring(),
        ChatsProvider(),
        KeysProvider(),
        CompletionsProvider(),
        OpenAIProvider(),
        WidgetsProvider(),
        VisitsProvider(),
        TasksProvider(),
        WebhooksProvider(),
        ApprovalsProvider(),
        NotificationsProvider(),
        BackupsProvider(),
        MemoryProvider(),
        AttachmentsProvider(),
        RunsAtTheDoor(),
        ApiProvider(),
        StreamsProvider(),
        JobsProvider(),
        McpProvider(),
    )
    work = (
        AgentsProvider(),
        ApprovalsAtWork(),
        NotificationsAtWork(),
        WorkWiring(),
        RunsAtWork(),
        TurnsProvider(),
        CompletionsAtWork(),
        WidgetsAtWork(),
        TasksAtWork(),
        DelegationsAtWork(),
        MemoryAtWork(),
    )
    match role:
        case ProcessRole.WEB:
            return (*shared, *door, *_elsewhere())
        case ProcessRole.WORKER:
            return (*shared, ChatStores(), *work)
        case ProcessRole.HEADLESS:
            return (*shared, ChatStores(), *work, TasksProvider(), HeadlessProvider())
        case ProcessRole.ALL:
            return (*shared, *door, *work)


def _elsewhere() -> Sequence[Provider]:
    """List what stands in the place of agents where others work."""
    return (
        AgentsElsewhere(),
        TurnsElsewhere(),
        CompletionsElsewhere(),
        WidgetsElsewhere(),
        TasksElsewhere(),
        DelegationsElsewhere(),
    )


class Wiring(Provider):
    """What every process needs."""

    scope = Scope.APP

    credentials = alias(RunTokens, provides=Credentials)
    standing = provide(PostgresStanding, provides=Standing)

    @provide
    def task_notices(self, notify: Notify, tasks: TaskStore, runs: RunStore) -> AnyOf[Outcomes, Preferences]:
        return TaskNotices(notify, tasks, runs)

    @provide
    def handlers(
        self,
        turns: TurnHandlers,
        tasks: TaskHandlers,
        completions: CompletionHandlers,
        widgets: WidgetHandlers,
        delegations: DelegationHandlers,
    ) -> Handlers:
        """Have every slice do its own kinds of runs."""
        return Handlers({**turns, **tasks, **completions, **widgets, **delegations})

    @provide
    def roles(self, settings: Settings) -> RoleTable:
        return role_table(settings)

    @provide
    def front_door_address(self, settings: Settings) -> FrontDoorAddress:
        return FrontDoorAddress(settings.front_door_url)

    @provide
    def front_door(
        self, http: HttpClient, address: FrontDoorAddress, run_tokens: Credentials, hints: PostgresHints
    ) -> FrontDoor:
        news = FleetNews()
        hints.hear(FLEET, news.hear)
        return HttpFrontDoor(http, address, run_tokens, news)


class WorkWiring(Provider):
    """What those need that work on runs."""

    scope = Scope.APP

    @provide
    def interceptors(self, ask_first: AskFirst, settings: Settings) -> Interceptors:
        return interceptors_of(settings.gateway.tool_rules, guards=(ask_first,), environment=os.environ)


class DoorWiring(Provider):
    """What those need that answer requests."""

    scope = Scope.APP

    revocation_store = provide(PostgresRevocationStore, provides=RevocationStore)
    quota_ledger = provide(PostgresQuotaLedger, provides=QuotaLedger)
    revocation_feed = provide(PostgresRevocationFeed, provides=RevocationFeed)
    run_source = alias(PostgresRunSource, provides=RunSource)
    api_key_source = alias(PostgresApiKeySource, provides=ApiKeySource)
    withdrawal = alias(WithdrawMark, provides=Withdrawal)

    @provide
    def on_withdrawing(self, drop: DropWithdrawn) -> OnWithdrawing:
        return drop.__call__

    @provide
    def session_signer(self, settings: Settings, published: SigningKeys, clock: Clock) -> SessionSigner:
        ring = KeyRing(published, clock, KEY_ID_PREFIX)  # not closed: what it signed holds for some minutes yet
        return SessionTokens(ring, clock, settings.jwt_audience or AUDIENCE, settings.jwt_role_claim)

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
    def reloads(self, begin: Begin, trail: AuditTrail, background: Background) -> RecordLater:
        later = RecordLater(begin, trail)
        background.add("audit", later.work)
        return later

    @provide
    def on_reload(self, later: RecordLater, place: WorkerPlace) -> OnReload:
        """Have it written down once, however many processes follow the file."""

        def note(reload: Reload) -> None:
            if place.index == 0:
                later.note(_act_of(reload))

        return note

    @provide
    def allowed_origins(self, settings: Settings) -> AllowedOrigins:
        return AllowedOrigins(frozenset(settings.cors_origins))

    @provide
    def install_templates(self, settings: Settings) -> InstallTemplates:
        return InstallTemplates(settings.agents_dir)

    @provide
    def shown_settings(self, settings: Settings) -> ShownSettings:
        rows = settings.gateway
        values = {name: getattr(settings, name) for name in Settings.model_fields if name not in FROM_THE_FILE}
        upstreams = {name: row.urls or (row.url,) for name, row in rows.upstreams.items()}
        return shown(values, upstreams, mcp_servers=sorted(rows.mcp_servers), routes=len(rows.routes))

    @provide
    def fetch_keys(self, http: HttpClient) -> Fetch:
        return http.fetch

    @provide
    def post_json(self, http: HttpClient) -> PostJson:
        return http.post_json


def _act_of(reload: Reload) -> Act:
    """Nobody in particular did it: the file changed."""
    details: dict[str, Json] = {
        "digest": reload.digest,
        "generation": reload.generation,
        "problems": list(reload.problems[:20]),
    }
    action = "table.refused" if reload.problems else "table.reloaded"
    return Act(action, reload.file, UserId(""), details=details)
