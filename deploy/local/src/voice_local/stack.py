"""The running stack: the stores first, then the services; stopped the other way round."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from typing import Any

import aiohttp
import click
import pymongo
from pymongo.errors import PyMongoError

from voice_common.settings import StoreSettings, load
from voice_local.children import Nursery
from voice_local.datadir import DataDir
from voice_local.programs import (
    INTERNAL,
    PORT_NAMES,
    Plan,
    mongod_program,
    redis_program,
    service_programs,
)
from voice_local.servers import mongo_url, redis_url
from voice_local.storage import STORAGE, Storage
from voice_local.store_users import StoreUsers
from voice_local.unit import Program, StartError, Unit
from voice_local.waiting import waiting_for

_GATEWAY_STOPS = 7.0
_SERVICES_STOP = 6.0
_STORES_STOP = 5.0
_LOGS_CHECKED = 10.0


class Stack:
    """All processes of one local stack; `stack.json` tells of them while they serve."""

    def __init__(self, directory: DataDir, nursery: Nursery, *, port: int, workers: int, auth: bool) -> None:
        ports = directory.ports(PORT_NAMES, besides={port})
        self._directory = directory
        self._own_mongo = "VOICE_MONGO_URL" not in os.environ
        self._own_redis = "VOICE_REDIS_URL" not in os.environ
        users = None
        if auth and self._own_mongo:
            users = StoreUsers(directory.store_passwords(), load(StoreSettings).mongo_database)
        own_url = mongo_url(ports["mongod"]) if users is None else users.url(ports["mongod"])
        self.plan = Plan(
            directory,
            directory.keys(),
            ports,
            port,
            workers,
            own_url if self._own_mongo else os.environ["VOICE_MONGO_URL"],
            redis_url(ports["redis"]) if self._own_redis else os.environ["VOICE_REDIS_URL"],
            users,
        )
        self._units: dict[str, Unit] = {}
        self._nursery = nursery
        self._session: aiohttp.ClientSession | None = None
        self._storage = Storage(ports[STORAGE])
        self._serves = False

    @property
    def base_url(self) -> str:
        """The URL that clients call."""
        return self.plan.url("gateway")

    async def start(self) -> None:
        """Start everything and write ``stack.json``; raise `StartError` or `MissingBinaryError`."""
        self._session = aiohttp.ClientSession()
        # What is not installed is said before anything runs.
        services = service_programs(self.plan, self._nursery, self._session)
        stores = []
        if self._own_mongo:
            stores.append(mongod_program(self._directory, self.plan.ports["mongod"], self.plan.users))
        else:
            await asyncio.to_thread(_check_mongo, self.plan.mongo_url)
        if self._own_redis:
            stores.append(redis_program(self._directory, self.plan.ports["redis"]))
        await self._start(stores)
        if self.plan.users is not None:
            try:
                await self.plan.users.make(self.plan.ports["mongod"])
            except PyMongoError as error:
                raise StartError(f"MongoDB's users could not be made: {type(error).__name__}") from error
        try:
            await self._storage.start()
        except OSError as error:
            taken = f"The storage of recordings can't listen on port {self.plan.ports[STORAGE]}"
            raise StartError(f"{taken} ({error.strerror}); start again, and it takes another one") from error
        await self._start(services)
        self._serves = True
        self._write()

    async def keep_logs_bounded(self) -> None:
        """Watch over the size of the logs until cancelled."""
        while True:
            await asyncio.sleep(_LOGS_CHECKED)
            try:
                for unit in self._units.values():
                    unit.bound_log()
            except OSError as error:
                click.echo(f"voice: the logs can't be kept short: {error.strerror}", err=True)

    async def stop(self) -> None:
        """Stop everything: the gateway first, so that it drains, the stores last. At most 18 seconds."""
        self._serves = False
        self._directory.stack_file.unlink(missing_ok=True)
        stores = {"mongod", "redis"}
        await self._stop({"gateway"}, _GATEWAY_STOPS)
        await self._stop(self._units.keys() - stores, _SERVICES_STOP)
        await self._storage.stop()
        await self._nursery.stop()
        await self._stop(stores, _STORES_STOP)
        if self._session is not None:
            await self._session.close()

    def describe(self) -> dict[str, Any]:
        """Give what ``stack.json`` holds."""
        return {
            "base_url": self.base_url,
            "mongo_url": self.plan.mongo_url,
            "redis_url": self.plan.redis_url,
            "services": {
                name: {
                    "url": self.plan.url(name),
                    "metrics_url": f"{self.plan.url('gateway-metrics' if name == 'gateway' else name)}/metrics",
                    "pid": self._pid(name),
                }
                for name in ("gateway", *INTERNAL)
            },
            "mongod_pid": self._pid("mongod"),
            "redis_pid": self._pid("redis"),
        }

    def _pid(self, name: str) -> int | None:
        return self._units[name].pid if name in self._units else None

    def _write(self) -> None:
        if not self._serves:
            return
        try:
            self._directory.write_stack(self.describe())
        except OSError as error:  # a full disk is no reason to leave a service down
            click.echo(f"voice: {self._directory.stack_file} can't be written: {error.strerror}", err=True)

    async def _start(self, programs: Iterable[Program]) -> None:
        units = [Unit(program, self._write) for program in programs]
        self._units |= {unit.program.name: unit for unit in units}
        try:
            async with waiting_for(lambda: _not_serving(units)), asyncio.TaskGroup() as group:
                for unit in units:
                    group.create_task(unit.start())
        except* StartError as errors:
            raise errors.exceptions[0] from None

    async def _stop(self, names: Iterable[str], seconds: float) -> None:
        units = [self._units.pop(name) for name in list(names) if name in self._units]
        await asyncio.gather(*(unit.stop(seconds) for unit in units))


def _not_serving(units: Iterable[Unit]) -> str:
    return ", ".join(unit.program.name for unit in units if not unit.served) or "nothing"


def _check_mongo(url: str) -> None:
    try:
        with pymongo.MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=5000) as client:
            hello = client.admin.command("hello")
    except PyMongoError as error:
        raise StartError(f"VOICE_MONGO_URL can't be used: {type(error).__name__}") from error
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise StartError("VOICE_MONGO_URL must be a replica set: transactions need one")
