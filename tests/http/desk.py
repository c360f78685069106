"""Somebody who may use every endpoint there is, and has what each of them is about."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from tests.http.calls import attach, make_batch, make_key, make_task, open_chat, say, somebody, write
from tests.http.endpoints import ID, Endpoint
from tests.http.running import a_notification, a_put_call, an_approval


@dataclass(frozen=True, slots=True)
class Desk:
    """A person with a chat, a message in it, a run that is over and a task; no refusal changes any of them."""

    owner: str
    ids: Mapping[str, object]
    put: Mapping[str, object]

    def ids_for(self, endpoint: Endpoint) -> Mapping[str, object]:
        """A call that waits for its client belongs to a run of its own."""
        return {**self.ids, **self.put} if "tool_call_id" in endpoint.path else self.ids

    def send(self, caller: httpx.Client, endpoint: Endpoint, headers: Mapping[str, str]) -> httpx.Response:
        """Send what would be right for the owner."""
        path = endpoint.at(self.ids_for(endpoint))
        return caller.request(endpoint.method, path, json=endpoint.body, headers=headers)

    def send_malformed(self, caller: httpx.Client, endpoint: Endpoint, headers: Mapping[str, str]) -> httpx.Response:
        flaw = endpoint.malformed
        ids = dict(self.ids_for(endpoint))
        if flaw is ID and endpoint.flawed:
            ids[endpoint.flawed] = "abc"
        query = f"?{flaw}" if isinstance(flaw, str) and flaw is not ID else ""
        body = flaw if isinstance(flaw, Mapping) else None if endpoint.takes_files else endpoint.body
        return caller.request(endpoint.method, endpoint.path.format(**ids) + query, json=body, headers=headers)


def a_desk(caller: httpx.Client, *, dsn: str = "") -> Desk:
    """With the database's address, the person is asked for an approval and was told something, too."""
    owner = somebody()
    chat_id = open_chat(caller, owner)["id"]
    message_id = write(caller, owner, chat_id, "hello")["id"]
    run_id = say(caller, owner, open_chat(caller, owner)["id"], "hello").json()[0]["run_id"]
    approval_id = an_approval(dsn, owner) if dsn else run_id
    notification_id = a_notification(dsn, owner) if dsn else run_id
    task_id = make_task(caller, owner, task_type="triggered", prompt="hello")["id"]
    batch_id = make_batch(caller, owner, {"task_type": "triggered", "prompt": "hello"})["id"]
    ids = {"chat_id": chat_id, "message_id": message_id, "run_id": run_id, "approval_id": approval_id}
    ids |= {"task_id": task_id, "batch_id": batch_id, "job_id": f"job_{run_id}"}
    ids |= {"attachment_id": attach(caller, owner, b"hello", "hello.txt")["id"]}
    key_id = make_key(caller, owner)["id"]
    ids |= {"key_id": key_id, "revocation_id": 1, "notification_id": notification_id, "memory_id": 1}
    return Desk(owner, ids, a_put_call(dsn, owner) if dsn else {"tool_call_id": "call-1"})
