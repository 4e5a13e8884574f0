"""The book of open connections: how many there may be, and which of their clients are too slow.

A client that has too many loses one that is idle, and so does somebody where the process has too many: the oldest
that never asked anything, else the one that is idle for longest. Only where none is idle a new one is refused. So
holding connections open keeps nobody out, its holder included.
"""

from __future__ import annotations

import asyncio
import itertools
import resource
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Protocol

from voice_gateway.addresses import ClientAddresses
from voice_gateway.metrics import CONNECTIONS, CONNECTIONS_ENDED

_LOOKED_THROUGH = 1000
_MOST_FAREWELLS = 256
_RESERVED_FILES = 1024  # for farewells, services, stores and logs


class Ending(StrEnum):
    """Why the gateway ended a connection that its client held."""

    SLOW_HEAD = "slow_head"
    UNREAD_ANSWER = "unread_answer"
    ROOM = "room"
    REFUSED = "refused"


class Connection(Protocol):
    """One connection, as the book looks at it."""

    @property
    def is_idle(self) -> bool:
        """Whether no request is there or under way."""

    @property
    def has_asked(self) -> bool:
        """Whether there ever was a request."""

    @property
    def idle_until(self) -> float:
        """When it would be closed for being idle: the sooner, the longer it is idle already."""

    head_since: float
    """When the first byte of a request's head came that is not whole yet, by the book's clock; 0 for none."""

    unread: tuple[int, float]
    """How many bytes its client has not taken yet, and since when it has not taken any; kept by the book."""

    def unread_bytes(self) -> int:
        """Give how many bytes wait for the client to take them."""

    def end(self, ending: Ending) -> None:
        """End it; what the client is still to be told depends on why."""


class Connections:
    """All connections of this process by their client's address; `seconds` is what a slow client gets."""

    def __init__(
        self,
        addresses: ClientAddresses,
        *,
        per_client: int,
        total: int,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._addresses = addresses
        self._per_client = per_client
        self._total = total
        self._seconds = seconds
        self.clock = clock
        self._all: dict[Connection, str | None] = {}
        self._by_client: dict[str, dict[Connection, None]] = {}
        self._leaving: set[Connection] = set()

    def __len__(self) -> int:
        """Count the connections in the book."""
        return len(self._all)

    def admit(self, connection: Connection, peer: str | None) -> bool:
        """Enter a new connection where there is room for it, or room can be made; tell whether there is.

        Trusted proxies, which many clients are behind, have no limit of their own.
        """
        client = None if peer is None or self._addresses.trusts_peer(peer) else peer
        mine = self._by_client.get(client, {}) if client is not None else {}
        for held, most in ((mine, self._per_client), (self._all, self._total)):
            if len(held) >= most and not self._make_room(held):
                CONNECTIONS_ENDED.labels(Ending.REFUSED).inc()
                return False
        self._all[connection] = client
        if client is not None:
            self._by_client.setdefault(client, {})[connection] = None
        return True

    def forget(self, connection: Connection) -> None:
        """Take note that a connection is over; safe to repeat."""
        self._leaving.discard(connection)
        client = self._all.pop(connection, None)
        if client is not None and (mine := self._by_client.get(client)) is not None:
            mine.pop(connection, None)
            if not mine:
                del self._by_client[client]

    def may_take_leave(self, connection: Connection) -> bool:
        """Tell whether a connection that is not in the book may stay for its last answer to be read.

        Each takes a file meanwhile, so only so many at a time may.
        """
        if len(self._leaving) >= _MOST_FAREWELLS:
            return False
        self._leaving.add(connection)
        return True

    @property
    def look_seconds(self) -> float:
        """Give how often `look` is to be called."""
        return min(1.0, self._seconds / 4)

    async def look(self) -> None:
        """End the connections whose clients are too slow by now; requests are let in between."""
        CONNECTIONS.set(len(self._all))
        now = self.clock()
        for place, connection in enumerate(list(self._all), start=1):
            if place % _LOOKED_THROUGH == 0:
                await asyncio.sleep(0)
            if connection.head_since and connection.is_idle and now - connection.head_since >= self._seconds:
                self._end(connection, Ending.SLOW_HEAD)
            elif size := connection.unread_bytes():
                if connection.unread[0] != size:
                    connection.unread = size, now
                elif now - connection.unread[1] >= self._seconds:
                    self._end(connection, Ending.UNREAD_ANSWER)
            elif connection.unread[0]:
                connection.unread = 0, now

    def _make_room(self, held: Iterable[Connection]) -> bool:
        """End an idle connection of the oldest ones: each new connection costs this much where there are too many."""
        chosen: Connection | None = None
        for connection in itertools.islice(held, _LOOKED_THROUGH):
            if not connection.is_idle:
                continue
            if not connection.has_asked:
                chosen = connection
                break
            if chosen is None or connection.idle_until < chosen.idle_until:
                chosen = connection
        if chosen is None:
            return False
        self._end(chosen, Ending.ROOM)
        return True

    def _end(self, connection: Connection, ending: Ending) -> None:
        CONNECTIONS_ENDED.labels(ending).inc()
        self.forget(connection)
        connection.end(ending)


def allow_files(connections: int) -> int:
    """Let this process open files for so many connections; give for how many it really may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _RESERVED_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else min(connections, max(1, soft - _RESERVED_FILES))
