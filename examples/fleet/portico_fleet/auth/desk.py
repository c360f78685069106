"""What the auth endpoints do, without HTTP: register, log in, refresh."""

import time
from dataclasses import dataclass

from portico_fleet.auth.accounts import Account, Accounts
from portico_fleet.auth.passwords import Passwords
from portico_fleet.auth.sessions import Opened, RefreshRefused, Sessions
from portico_fleet.auth.tokens import AccessTokens
from portico_fleet.refused import Unauthenticated


class CredentialsWrong(Unauthenticated):
    kind = "credentials-wrong"


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody let in: who, and what to show from now on."""

    account: Account
    session: Opened
    access_token: str
    issued_at_s: int


@dataclass(frozen=True, slots=True)
class Desk:
    accounts: Accounts
    sessions: Sessions
    passwords: Passwords
    tokens: AccessTokens

    async def register(self, email: str, password: str) -> Account:
        """Errors: EmailTaken."""
        password_hash = await self.passwords.hash(password)
        return await self.accounts.add(email, password_hash=password_hash, now_s=now_s())

    async def log_in(self, email: str, password: str, *, user_agent: str, ip: str) -> Entry:
        """Errors: CredentialsWrong, the same one after the same work whether the email or the password is at fault."""
        found = await self.accounts.by_email(email)
        if not await self.passwords.match(password, found[1] if found else None) or found is None:
            raise CredentialsWrong("email or password is wrong")
        session = await self.sessions.open(found[0].id, user_agent=user_agent, ip=ip, now_s=now_s())
        return self._let_in(found[0], session)

    async def refresh(self, refresh_token: str) -> Entry:
        """Errors: RefreshRefused."""
        session = await self.sessions.rotate(refresh_token, now_s=now_s())
        account = await self.accounts.by_id(session.account_id)
        if account is None:
            raise RefreshRefused("the account is gone")
        return self._let_in(account, session)

    def _let_in(self, account: Account, session: Opened) -> Entry:
        issued_at_s = time.time()
        token = self.tokens.issue(account, session_id=session.session_id, issued_at_s=issued_at_s)
        return Entry(account=account, session=session, access_token=token, issued_at_s=int(issued_at_s))


def now_s() -> int:
    return int(time.time())
