"""Whether a service's settings are right: in this environment, or as the running local stack's service shows."""

from __future__ import annotations

import aiohttp
from pydantic_settings import BaseSettings

from voice_common.doctor.findings import Check, Finding, Surroundings, failed, ok
from voice_common.settings import SettingsError, load

_READY_SECONDS = 5
_OK = 200


def settings_check(service: str, model: type[BaseSettings]) -> Check:
    """Make the check of a service: its settings here, or its readiness in a local stack, which chose them."""

    async def look(surroundings: Surroundings) -> Finding:
        if surroundings.stack is not None:
            return await _ready(service, str(surroundings.stack["services"][service]["metrics_url"]))
        try:
            load(model)
        except SettingsError as error:
            return failed(f"the {service} service would not start here: {error}", "set it as the README's table says")
        return ok("all are right in this environment")

    return Check(f"settings of {service}", look, needs_store=False)


async def _ready(service: str, metrics_url: str) -> Finding:
    """Ask a running service; what its settings got wrong, it could not be ready with."""
    url = metrics_url.removesuffix("metrics") + "readyz"
    advice = f"look into the log {service}.log of the data directory"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_READY_SECONDS)) as session,
            session.get(url) as response,
        ):
            document = await response.json()
            status = response.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        return failed(f"the running {service} does not answer ({type(error).__name__})", advice)
    if status != _OK:
        wrong = [f"{name}: {outcome}" for name, outcome in document.get("checks", {}).items() if outcome != "ok"]
        return failed(f"the running {service} is not ready ({', '.join(wrong) or status})", advice)
    return ok("the running service is ready with them")
