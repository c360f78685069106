"""What the slice adds to the container. It asks others for `Begin`, roles, the audit, receipts and a `Withdrawal`."""

from dishka import Provider, Scope, provide, provide_all

from app.features.keys.ports import KeyStore
from app.features.keys.repository import PostgresApiKeySource, PostgresKeyStore
from app.features.keys.use_cases.create_key import CreateKey
from app.features.keys.use_cases.delete_key import DeleteKey, DropWithdrawn
from app.features.keys.use_cases.list_keys import ListKeys


class KeysProvider(Provider):
    """The store by its port, so that a provider given after this one replaces it."""

    scope = Scope.APP

    store = provide(PostgresKeyStore, provides=KeyStore)
    source = provide(PostgresApiKeySource)
    use_cases = provide_all(CreateKey, DeleteKey, DropWithdrawn, ListKeys)
