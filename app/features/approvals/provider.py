"""What the slice adds to the container. It asks others for `Settings`, `Begin`, the engine, the audit, receipts
and notifications.
"""

from datetime import timedelta

from dishka import Provider, Scope, provide, provide_all

from app.agents.approvals.desk import ApprovalDesk
from app.agents.approvals.guard import AskFirst, Unattended
from app.agents.rules import parse_rules
from app.agents.tools.ruled import rules_of
from app.features.approvals.gate import OwnerNotices, PostedApprovals
from app.features.approvals.ports import ApprovalStore, Notices
from app.features.approvals.repository import PostgresApprovalStore
from app.features.approvals.use_cases.close_approvals import CloseApprovals
from app.features.approvals.use_cases.decide_approval import DecideApproval
from app.features.approvals.use_cases.list_approvals import ListApprovals
from app.features.approvals.use_cases.read_approval import ReadApproval
from app.features.approvals.use_cases.standing_approvals import ListStandingApprovals, TakeBackApproval
from app.kernel.transaction import Begin
from app.settings import Settings


class ApprovalStores(Provider):
    """What every process needs that may end a run; the store by its port, so that a provider after this replaces it."""

    scope = Scope.APP

    store = provide(PostgresApprovalStore, provides=ApprovalStore)
    close = provide(CloseApprovals)


class ApprovalsProvider(Provider):
    """What is done for requests."""

    scope = Scope.APP

    use_cases = provide_all(DecideApproval, ListApprovals, ReadApproval, ListStandingApprovals, TakeBackApproval)


class ApprovalsAtWork(Provider):
    """What stands around the calls of tools, where runs are worked on."""

    scope = Scope.APP

    notices = provide(OwnerNotices, provides=Notices)

    @provide
    def desk(self, begin: Begin, store: ApprovalStore, notices: Notices, settings: Settings) -> ApprovalDesk:
        return PostedApprovals(begin, store, notices, timedelta(seconds=settings.approval_expires_s))

    @provide
    def guard(self, desk: ApprovalDesk, settings: Settings) -> AskFirst:
        rules = (*parse_rules(settings.approval_rules), *rules_of(settings.gateway.tool_rules))
        return AskFirst(desk, rules, Unattended(settings.approval_unattended))
