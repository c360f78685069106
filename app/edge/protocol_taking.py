"""Requests are taken off what a client has sent, one after the other, when there is time for them.

What is decided on each is `protocol.py`'s; how many a worker takes at once is told by `load.py`.
"""

import asyncio
from collections.abc import Callable

from uvicorn.server import ServerState

from app.edge.line import Line
from app.edge.middleware.load import ALWAYS_TAKEN
from app.edge.pipeline import Chain
from app.edge.plans import Plan
from app.edge.protocol_clock import Late
from app.edge.protocol_conversation import Conversation
from app.edge.protocol_intake import first_words
from app.edge.protocol_lobby import Arrival
from app.edge.turnstile import Turnstile
from app.kernel.errors import Fault

REQUESTS_A_TURN = 64
"""of one client, before it is somebody else's turn: one read can deliver thousands that are answered at once"""


class Taking(Conversation):
    """`waits` says that the client stands in a line, with requests that nobody has read."""

    __slots__ = ("_is_looping", "_peer", "_scheme", "waits")

    def __init__(self, server_state: ServerState, loop: asyncio.AbstractEventLoop, arrival: Arrival) -> None:
        super().__init__(server_state, loop)
        self._edge = arrival.edge
        self._paused_clients = arrival.edge.paused_clients
        self._peer = arrival.peer
        self._scheme = ""
        self._is_looping = self.waits = False

    def _enter(self, block: bytes, chain: Chain) -> None:
        """Decide on a head, and have it served."""
        raise NotImplementedError

    def _enter_again(self, plan: Plan, chain: Chain) -> None:
        """Do the same with a head that is known."""
        raise NotImplementedError

    def data_received(self, data: bytes) -> None:
        if self.is_deaf:
            return
        if self._body is not None:
            data = self._feed_body(data)
            if not data:
                return
        edge = self._edge
        if self._reply is None and not self.waits:
            if edge.load.is_busy:
                self._intake.add(data)
                self._next_requests()
                return
            if not (self._intake.has_bytes or self.is_congested):
                plan = edge.plans.find(data, self._peer, self._scheme, edge.table)
                if plan is not None:  # all that came is one head, and it is known
                    self._clock.expect_nothing()
                    self._enter_again(plan, edge.letting_in)
                    return
            self._intake.add(data)
            self.be_served()
        else:
            self._intake.add(data)
            self._pace()

    def _leave(self) -> None:
        self.waits = False
        super()._leave()

    def _next_requests(self) -> None:
        """Serve what has arrived, now or when there is time."""
        if self._is_looping or self.waits:
            return
        load = self._edge.load
        if self._intake.has_bytes and not load.has_time():
            self._wait(load.line)
        else:
            self.be_served()

    def be_served(self) -> None:
        self._work_off(self._let_in)

    def be_turned_away(self) -> None:
        self._work_off(self._turn_away)

    def _wait(self, line: Line | Turnstile) -> None:
        if self._intake.has_head:
            self._clock.expect_nothing()
        elif not self._intake.is_searched:
            self._clock.expect(Late.HEAD, self._edge.options.head_s)
        line.wait(self)
        self._pace()

    def _work_off(self, enter: Callable[[bytes], None]) -> None:
        """Have one request after the other served or turned away, until one has to be waited for."""
        if self._is_looping:
            return
        self._is_looping = True
        intake = self._intake
        served = 0
        while self._reply is None and not (self.is_deaf or self.is_congested or self.waits) and self._body is None:
            served += 1
            if served > REQUESTS_A_TURN:
                self._loop.call_soon(self._next_requests)
                break
            was_searched = intake.is_searched
            try:
                block = intake.next_head()
            except Fault as fault:
                self._refuse_head(fault)
                break
            if block is None:
                if intake.has_bytes and not was_searched:
                    self._clock.expect(Late.HEAD, self._edge.options.head_s)
                break
            self._clock.expect_nothing()
            enter(block)
            self._feed_from_intake()
        self._is_looping = False
        self._pace()

    def _let_in(self, block: bytes) -> None:
        edge = self._edge
        if edge.load.is_busy:
            plan = edge.plans.find(block, self._peer, self._scheme, edge.table)
            line = edge.line_of(plan) if plan is not None else None
            if line is not None:
                self._intake.put_back(block + self._intake.take_all())
                self._wait(line)
                return
        self._enter(block, edge.letting_in)

    def _turn_away(self, block: bytes) -> None:
        is_taken = first_words(block)[1] in ALWAYS_TAKEN
        self._enter(block, self._edge.letting_in if is_taken else self._edge.turning_away)
