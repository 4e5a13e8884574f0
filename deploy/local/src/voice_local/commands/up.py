"""``voice up``: the whole system on this machine until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from voice_common.cli import CommandError, common_options, print_json
from voice_local.binaries import MissingBinaryError
from voice_local.children import Nursery
from voice_local.datadir import DataDir, DataDirError
from voice_local.process import port_is_free
from voice_local.unit import StartError
from voice_local.waiting import waiting_for

if TYPE_CHECKING:
    from voice_local.demo import Demo
    from voice_local.stack import Stack

_PORT_RELEASED = 2.0


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Public port.")
@click.option("--demo/--no-demo", default=True, show_default=True, help="Make a demo tenant with calls and a token.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes of each service."
)
@click.option(
    "--auth", is_flag=True, help="Have MongoDB ask for passwords: a user for each service, with its rights alone."
)
@common_options
def up(*, port: int, demo: bool, workers: int, auth: bool, as_json: bool, data_dir: Path | None) -> None:
    """Start the whole system on this machine; Ctrl-C stops it.

    MongoDB and Redis are started too, unless VOICE_MONGO_URL or VOICE_REDIS_URL name others. Data, keys and logs
    live in the data directory (default: .voice).

    \b
    Examples:
      voice up
      voice up --port 9000 --data-dir /var/lib/voice --no-demo --workers 2
    """  # noqa: D301 - click's mark for lines that stay as they are
    stopped = _Stopped()
    directory = DataDir(data_dir or Path(".voice"))
    try:
        with directory.held():
            _check_port(port)
            asyncio.run(_run(directory, stopped, port=port, workers=workers, auth=auth, demo=demo, as_json=as_json))
    except (DataDirError, MissingBinaryError, StartError) as error:
        raise CommandError(str(error)) from error


class _Stopped:
    """Whether somebody asked for the end; asking twice is the same as asking once."""

    def __init__(self) -> None:
        self._asked = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._ask)

    async def wait(self) -> None:
        """Return when the end was asked for."""
        self._loop = asyncio.get_running_loop()
        if not self._asked:
            await self._event.wait()

    def _ask(self, _number: int, _frame: object) -> None:
        self._asked = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._event.set)


async def _run(
    directory: DataDir, stopped: _Stopped, *, port: int, workers: int, auth: bool, demo: bool, as_json: bool
) -> None:
    nursery = Nursery(directory.logs / "nursery.log")
    await nursery.start()
    from voice_local.stack import Stack  # noqa: PLC0415 - what takes long is imported while the nursery imports too

    stack = Stack(directory, nursery, port=port, workers=workers, auth=auth)
    work = asyncio.create_task(_serve(stack, directory, demo=demo, as_json=as_json))
    asked = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            await work
        click.echo("stopping", err=True)
    finally:
        asked.cancel()
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        await stack.stop()


async def _serve(stack: Stack, directory: DataDir, *, demo: bool, as_json: bool) -> None:
    await stack.start()
    click.echo(f"ready {stack.base_url}", err=as_json)
    shown = await _demo(stack, directory) if demo else None
    if as_json:
        print_json({**stack.describe(), "token": shown and shown.token, "curl": shown and shown.curl})
    elif shown is not None:
        click.echo(
            f"base URL  {stack.base_url}/api\n"
            f"console   {stack.base_url}/console\n"
            f"token     {shown.token}\n"
            f"try       {shown.curl}"
        )
    await stack.keep_logs_bounded()


async def _demo(stack: Stack, directory: DataDir) -> Demo | None:
    from voice_local.demo import DemoError, set_up_demo  # noqa: PLC0415 - not needed to be ready

    try:
        async with waiting_for(lambda: "the demo's calls"):
            return await set_up_demo(stack, directory)
    except DemoError as error:
        click.echo(f"voice: {error}", err=True)
        return None


def _check_port(port: int) -> None:
    """Raise `StartError` where somebody listens on the public port, a stack that is just ending aside."""
    deadline = time.monotonic() + _PORT_RELEASED
    try:
        while not port_is_free(port):
            if time.monotonic() > deadline:
                raise StartError(f"Port {port} is taken; choose another with --port")
            time.sleep(0.05)
    except PermissionError:
        raise StartError(f"Port {port} needs more rights; choose one above 1023 with --port") from None
