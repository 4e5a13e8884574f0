"""One run: the system, its clients, the schedule of faults, and what is looked at when it is quiet."""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

import aiohttp

from soak import exactness, store
from soak.clients import Customer, Traffic, repeatedly
from soak.faults import Made, make
from soak.fleet import Fleet
from soak.ledger import Ledger
from soak.limits import LimiterWatch, excess
from soak.marks import Mark
from soak.schedule import Fault, Step
from voice_common.mongo import Database, connect
from voice_common.store.tenants import AreaName, Claim, ClaimKind, Tenant, TenantStore
from voice_gateway.areas import SCOPES
from voice_gateway.tokens import TokenStore
from voice_local.simulation.delivery import Signer

TENANTS = 3
LIMIT = 20
_SENDERS = 3
_PLENTY = 10_000_000
_REST_SECONDS = 90.0
_EXACT_SECONDS = 40.0
_RECOVERY_SECONDS = 60.0
_LOOK_SECONDS = 2.0


@dataclass(frozen=True)
class Survived:
    """What a run came to."""

    seed: int
    nodes: int
    seconds: float
    ledger: Ledger
    faults: Counter[str]
    calm: list[float]
    """The seconds that it took at each calm moment until all figures were exact."""
    outages: list[tuple[str, float]]
    """The seconds from a fault's end until what it had hit served again."""


async def run(seed: int, steps: Sequence[Step], *, nodes: int, seconds: float, rate: float) -> Survived:
    """Run `steps`, at most for about `seconds`: what comes too late is left out, the calm at the end is not."""
    folder = Path(tempfile.mkdtemp(prefix="voice-soak-"))
    fleet = Fleet(folder, nodes)
    with (folder / "soak.log").open("w") as said, redirect_stderr(said):
        try:
            await fleet.start()
            survived = await _Run(fleet, seed, rate).survive(steps, seconds)
        finally:
            await fleet.stop()
    if not survived.ledger.violations:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        survived.ledger.examples.append(f"logs and data: {folder}")
    return survived


class _Run:
    def __init__(self, fleet: Fleet, seed: int, rate: float) -> None:
        self._fleet = fleet
        self._seed = seed
        self._rate = rate
        self._rng = Random(f"{seed}/samples")  # noqa: S311 - no secret
        self._marks = [Mark(place + 1) for place in range(TENANTS + 1)]
        self._ledger = Ledger(self._marks)
        self._faults: Counter[str] = Counter()
        self._calm: list[float] = []
        self._outages: list[tuple[str, float]] = []

    async def survive(self, steps: Sequence[Step], seconds: float) -> Survived:
        client = connect(self._fleet.mongo_url, timeout_seconds=15)
        database = client["voice"]
        *customers, metered = [await _customer(database, mark) for mark in self._marks]
        async with self._traffic() as traffic:
            internal = [f"http://127.0.0.1:{self._fleet.ports['recordings']}/api/conversations"]
            background = asyncio.create_task(traffic.run(customers, metered, internal, _SENDERS))
            watch = asyncio.create_task(self._watch(traffic))
            try:
                for place, step in enumerate(steps):
                    is_last = place == len(steps) - 1
                    if self._ledger.now > seconds and not is_last:
                        continue
                    if background.done():
                        await background
                    if step.is_calm:
                        await self._rest(traffic, customers, sample=20 if is_last else 4)
                        if not is_last:
                            traffic.resume()
                    else:
                        await self._suffer(step)
                await self._check_store(database)
            finally:
                traffic.stop()
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch
                async with asyncio.timeout(_REST_SECONDS):
                    await background
        await client.close()
        over = excess(self._ledger.admitted, self._ledger.disturbed, LIMIT)
        if over is not None:
            self._ledger.violated("rate limits hold", over)
        return Survived(
            self._seed,
            len(self._fleet.nodes),
            self._ledger.now,
            self._ledger,
            self._faults,
            self._calm,
            self._outages,
        )

    @asynccontextmanager
    async def _traffic(self) -> AsyncIterator[Traffic]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            signer = Signer(self._fleet.keys.telnyx)
            yield Traffic(self._fleet.base_url, session, signer, self._ledger, self._seed, self._rate)

    async def _watch(self, traffic: Traffic) -> None:
        url = f"http://127.0.0.1:{self._fleet.ports['metrics']}/metrics"
        watch = LimiterWatch(traffic.session, url, self._ledger)
        while True:
            await watch.look()
            await asyncio.sleep(_LOOK_SECONDS)

    async def _suffer(self, step: Step) -> None:
        """Make a step's faults, undo each in its time, and wait until what they hit serves again."""
        self._say("; ".join(_text(fault) for fault in step.faults))
        made: list[tuple[Fault, Made]] = []
        try:
            for fault in step.faults:
                self._faults[f"{fault.kind} {fault.target}"] += 1
                if fault.target in {"redis", "gateway>redis", "gateway"}:
                    self._ledger.disturbed.append(self._ledger.now)
                made.append((fault, await make(self._fleet, fault)))
        finally:
            passed = 0.0
            for fault, one in sorted(made, key=lambda entry: entry[0].seconds):
                await asyncio.sleep(fault.seconds - passed)
                passed = fault.seconds
                await one.undo()
        await asyncio.gather(*(self._recovered(fault, one) for fault, one in made))
        await asyncio.sleep(step.pause)

    async def _recovered(self, fault: Fault, made: Made) -> None:
        if made.program is None:
            return
        begun = self._ledger.now
        try:
            await self._fleet.until_serving(made.program, seconds=_RECOVERY_SECONDS)
        except TimeoutError:
            self._ledger.violated("what was hit serves again by itself", (made.program, _RECOVERY_SECONDS))
        self._outages.append((f"{fault.kind} {fault.target}", self._ledger.now - begun))

    async def _rest(self, traffic: Traffic, customers: Sequence[Customer], sample: int) -> None:
        """Come to a calm moment: all is healed, nothing is under way; all figures become exact and stay so."""
        try:
            await self._fleet.until_serving(seconds=_RECOVERY_SECONDS)
            await traffic.rest(_REST_SECONDS)
        except TimeoutError:
            self._ledger.violated("all is taken and serves once nothing is wrong", "it took too long")
            return

        of_all = [(each, self._ledger.begun[each.mark]) for each in customers]
        chosen = [(each, self._rng.sample(calls, min(sample, len(calls)))) for each, calls in of_all]

        async def complaint() -> str | None:
            for customer, calls in chosen:
                if (said := await exactness.complaint(traffic, customer, calls)) is not None:
                    return said
            return None

        took, left = await repeatedly(complaint, seconds=_EXACT_SECONDS, ledger=self._ledger)
        if left:
            self._ledger.violated("at a quiet moment all figures are exact", left)
        elif (again := await complaint()) is not None:
            self._ledger.violated("figures that are exact stay so while nothing happens", again)
        self._calm.append(took)
        count = sum(len(calls) for _, calls in of_all)
        self._say(f"calm: {count} calls, {len(self._ledger.known)} events; exact after {took:.1f} s")

    async def _check_store(self, database: Database) -> None:
        # What is in quarantine is let go within ten seconds.
        _, left = await repeatedly(lambda: store.complaint(database, self._ledger), seconds=20, ledger=self._ledger)
        if left:
            self._ledger.violated("each acknowledged event is stored once", left)

    def _say(self, text: str) -> None:
        sys.stdout.write(f"{self._ledger.now:7.1f} s  {text}\n")
        sys.stdout.flush()


async def _customer(database: Database, mark: Mark) -> Customer:
    """Make a tenant; the last one has a small allowance of conversations, the others all they want."""
    metered = mark.place == TENANTS + 1
    limits = dict.fromkeys(AreaName, _PLENTY) | ({AreaName.CONVERSATIONS: LIMIT} if metered else {})
    connection = f"9{mark.digits.lstrip('+')}000"
    claims = (Claim(ClaimKind.CONNECTION, connection),)
    tenants, tokens = TenantStore(database), TokenStore(database)
    await tenants.create_indexes()
    await tokens.create_indexes()
    await tenants.create(Tenant(mark.tenant, mark.tenant, limits, claims=claims))
    secret, _ = await tokens.issue(mark.tenant, name="soak", scopes=sorted(SCOPES), expires_at=None)
    return Customer(mark, secret, connection)


def _text(fault: Fault) -> str:
    lasts = f" for {fault.seconds} s" if fault.seconds else ""
    return f"{fault.kind} {fault.target}{lasts}"
