"""Keys and passwords in settings are shown nowhere: not as text, not in a refusal, not in a log or an answer."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from chaos_factories import Running
from gateway_factories import PRIVATE_KEY, PUBLIC_KEY
from settings_table import settings_classes
from voice_command import Voice

from voice_common.settings import SettingsError, load
from voice_local.servers import free_port

SECRET = "hushhushhush"
REQUIRED = {"VOICE_IDENTITY_PRIVATE_KEY": PRIVATE_KEY, "VOICE_IDENTITY_PUBLIC_KEYS": PUBLIC_KEY}
GOOD = {
    "VOICE_MONGO_URL": f"mongodb://voice:{SECRET}@127.0.0.1:1/?replicaSet=rs0&authSource=admin",
    "VOICE_REDIS_URL": f"rediss://voice:{SECRET}@127.0.0.1:1/0",
    "VOICE_JWT_JWKS_URL": f"https://voice:{SECRET}@issuer.example/jwks",
    "VOICE_JWT_ISSUER": "https://issuer.example",
    "VOICE_JWT_AUDIENCE": "voice",
}
# A password with a slash or a colon in it that nobody has encoded ends up where a port is read.
WRONG = [
    ("VOICE_MONGO_URL", f"mongodb://voice:{SECRET}/1@127.0.0.1:27017/"),
    ("VOICE_MONGO_URL", f"mongodb://voice:1:{SECRET}@127.0.0.1:27017/"),
    ("VOICE_MONGO_URL", f"mongodb://voice:{SECRET}%@127.0.0.1/"),
    ("VOICE_MONGO_URL", f"mongodb://127.0.0.1/?readPreference={SECRET}"),
    ("VOICE_MONGO_URL", f"{SECRET}@127.0.0.1"),
    ("VOICE_REDIS_URL", f"redis://voice:{SECRET}/1@127.0.0.1:6379/0"),
    ("VOICE_REDIS_URL", f"redis://127.0.0.1:{SECRET}/0"),
    ("VOICE_REDIS_URL", f"redis://127.0.0.1/0?socket_timeout={SECRET}"),
    ("VOICE_REDIS_URL", f"{SECRET}@127.0.0.1"),
    ("VOICE_ANALYTICS_URL", f"http://voice:{SECRET}/1@127.0.0.1"),
    ("VOICE_ANALYTICS_URL", f"http://voice:{SECRET}@127.0.0.1"),
    ("VOICE_JWT_JWKS_URL", f"https://voice:{SECRET}/1@issuer.example"),
    ("VOICE_JWT_PUBLIC_KEY", f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"),
    ("VOICE_IDENTITY_PRIVATE_KEY", f"{PRIVATE_KEY}{SECRET}"),
]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VOICE_")]:
        monkeypatch.delenv(name)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def is_shown_in(text: str) -> bool:
    return SECRET in text or PRIVATE_KEY in text


@pytest.mark.parametrize(("service", "model"), settings_classes())
def test_settings_as_text_show_no_secret(monkeypatch: pytest.MonkeyPatch, service: str, model: Any) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)
    settings = load(model)
    assert SECRET in settings.mongo_url, service
    for text in (repr(settings), str(settings), f"{settings}", repr([settings])):
        assert not is_shown_in(text)


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{place}-{name}" for place, (name, _) in enumerate(WRONG)])
def test_what_refuses_a_setting_does_not_show_it(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    (gateway,) = (model for service, model in settings_classes() if service == "gateway")
    with pytest.raises(SettingsError, match=f"^{name} is wrong: must be ") as refused:
        load(gateway)
    assert not is_shown_in(str(refused.value))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


@pytest.mark.parametrize("environment_", [GOOD, dict([WRONG[0], WRONG[5]]), dict([WRONG[3], WRONG[6]])])
async def test_the_doctor_shows_no_secret(monkeypatch: pytest.MonkeyPatch, environment_: Mapping[str, str]) -> None:
    monkeypatch.setattr("voice_common.cli.doctor._STORE_SECONDS", 0.2)
    told = await Voice(REQUIRED | dict(environment_))("doctor")
    assert told.exit_code == 1
    assert "MongoDB" in told.output or "VOICE_MONGO_URL" in told.output
    assert not is_shown_in(told.output)


async def test_a_gateway_whose_stores_are_away_shows_no_secret_in_its_log_and_answers(tmp_path: Any) -> None:
    metrics_port = free_port()
    settings = REQUIRED | GOOD | {"VOICE_LOG_LEVEL": "debug", "VOICE_METRICS_PORT": str(metrics_port)}
    gateway = Running("voice_gateway", settings, tmp_path / "log")
    urls = (f"{gateway.url}/api/conversations", f"http://127.0.0.1:{metrics_port}/readyz")
    starting = asyncio.create_task(gateway.start())  # it waits to be ready, and that never happens
    try:
        async with aiohttp.ClientSession() as session:
            said = "".join(await asyncio.gather(*(_asked(session, url) for url in urls)))
    finally:
        starting.cancel()
        await asyncio.wait([starting])
        await gateway.stop()
    log = gateway.log.read_text()
    assert "unavailable" in said
    assert "store" in log or "Redis" in log
    assert not is_shown_in(said + log)


async def _asked(session: aiohttp.ClientSession, url: str) -> str:
    """Give the text of an answer, once there is one."""
    while True:
        try:
            async with session.get(url, headers={"Authorization": f"Bearer vst_{'x' * 43}"}) as answer:
                return str(answer.headers) + await answer.text()
        except aiohttp.ClientError:
            await asyncio.sleep(0.05)
