"""Make a key."""

from dataclasses import dataclass
from uuid import UUID

from app.features.keys.domain import MAX_KEYS, Key, KeyWish, Made, NewKey, TooManyKeys, refuse_unattended
from app.features.keys.ports import KeyStore
from app.kernel.api_keys import digest_of, new_secret, text_of
from app.kernel.audit import Act, AuditTrail
from app.kernel.clock import Clock
from app.kernel.errors import refuse_invalid
from app.kernel.identity import Principal, RoleTable
from app.kernel.ids import KeyId, new_run_id
from app.kernel.keyed_requests import KeyedRequest, Receipts
from app.kernel.transaction import Begin, Tx


@dataclass(frozen=True, slots=True)
class CreateKey:
    """Make a key of the caller's, with rights no wider than the token that asks for it; its text is given this once.

    A keyed request makes one key. Where an earlier try of it made one and its answer was lost, nobody has seen that
    key: it is replaced. Errors: KeyByKey, ValidationFailed, TooManyKeys.
    """

    begin: Begin
    store: KeyStore
    roles: RoleTable
    clock: Clock
    audit: AuditTrail
    receipts: Receipts

    async def __call__(self, who: Principal, wish: KeyWish, *, keyed: KeyedRequest | None = None) -> Made:
        refuse_unattended(who)
        refuse_invalid(wish.problems(who, self.roles, now=self.clock.now()))
        secret = new_secret()
        async with self.begin() as tx:
            unseen = None if keyed is None else await self.receipts.find(tx, keyed)
            if unseen is not None:
                await self.store.remove(tx, KeyId(UUID(unseen.partition(" ")[0])))
            key = await self._add(tx, who, wish, secret)
            if keyed is not None and unseen is None:
                await self.receipts.note(tx, keyed, str(key.id))
        return Made(key, text_of(key.id, secret))

    async def _add(self, tx: Tx, who: Principal, wish: KeyWish, secret: str) -> Key:
        roles = who.roles or (who.role,) if wish.role is None else (wish.role,)
        draft = NewKey(
            id=KeyId(new_run_id()),
            owner=who.user_id,
            name=wish.name,
            digest=digest_of(secret.encode()),
            roles=roles,
            scopes=tuple(wish.scopes),
            expires_at=wish.expires_at,
        )
        key = await self.store.add(tx, draft, at_most=MAX_KEYS)
        if key is None:
            raise TooManyKeys(f"You have {MAX_KEYS} keys; delete one of them first.")
        act = Act.of(
            who, "key.created", key.id, owner=key.owner, name=key.name, roles=list(roles), scopes=list(wish.scopes)
        )
        await self.audit.record(tx, act)
        return key
