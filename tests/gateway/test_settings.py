from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from gateway_factories import PRIVATE_KEY

from voice_common.settings import SettingsError, load
from voice_gateway.settings import GatewaySettings

WRONG = {
    "VOICE_IDENTITY_PRIVATE_KEY": "short",
    "VOICE_ANALYTICS_URL": "ftp://x",
    "VOICE_RECORDINGS_URL": "http://x/path",
    "VOICE_REDIS_URL": "http://x",
    "VOICE_TRUSTED_PROXIES": "10.0.0.0/8, nonsense",
    "VOICE_CORS_ORIGINS": "*",
    "VOICE_JWT_PUBLIC_KEY": "no PEM",
    "VOICE_GATEWAY_PROCESSES": "0",
    "VOICE_METRICS_PORT": "70000",
}


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("VOICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VOICE_IDENTITY_PRIVATE_KEY", PRIVATE_KEY)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_setting_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, WRONG[name])
    with pytest.raises(SettingsError, match=f"^{name} is wrong: ") as raised:
        load(GatewaySettings)
    assert WRONG[name] not in str(raised.value).split("is wrong")[1] or len(WRONG[name]) == 1


@pytest.mark.parametrize("text", ["", "no PEM", "{pem}x", "{pem}{private}", "{weak}", "{pem}{weak}"])
def test_public_keys_of_jwts_are_all_in_pem_and_strong(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    form = serialization.Encoding.PEM
    key, weak = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 1024)  # noqa: S505 - the flaw
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    private = key.private_bytes(form, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    pem, weak_pem = (one.public_key().public_bytes(form, public).decode() for one in (key, weak))
    for name in ("VOICE_JWT_ISSUER", "VOICE_JWT_AUDIENCE"):
        monkeypatch.setenv(name, "x")
    monkeypatch.setenv("VOICE_JWT_PUBLIC_KEY", text.format(pem=pem, private=private, weak=weak_pem))
    with pytest.raises(SettingsError, match=r"^VOICE_JWT_PUBLIC_KEY is wrong: must be a public key in PEM"):
        load(GatewaySettings)
    monkeypatch.setenv("VOICE_JWT_PUBLIC_KEY", f"{pem}\n{pem}".replace("\n", "\\n"))
    assert load(GatewaySettings).jwt_public_key == f"{pem}\n{pem}"


@pytest.mark.parametrize("key", ["VOICE_JWT_JWKS_URL", "VOICE_JWT_PUBLIC_KEY"])
@pytest.mark.parametrize("missing", ["VOICE_JWT_ISSUER", "VOICE_JWT_AUDIENCE"])
def test_jwts_without_issuer_or_audience_stop_the_start(
    monkeypatch: pytest.MonkeyPatch, key: str, missing: str
) -> None:
    pem = (
        "-----BEGIN PUBLIC KEY-----\\n"
        "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n"
        "-----END PUBLIC KEY-----"
    )
    monkeypatch.setenv(key, "https://issuer.example/jwks" if "JWKS" in key else pem)
    for name in {"VOICE_JWT_ISSUER", "VOICE_JWT_AUDIENCE"} - {missing}:
        monkeypatch.setenv(name, "x")
    with pytest.raises(SettingsError, match=f"^{missing} is wrong: "):
        load(GatewaySettings)
    monkeypatch.setenv(missing, "x")
    assert load(GatewaySettings).jwt_audience == ["x"]


def test_a_wrong_setting_ends_the_start_with_2_and_one_sentence() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VOICE_")}
    ended = subprocess.run(
        [sys.executable, "-m", "voice_gateway"],
        env=environment
        | {"VOICE_JWT_JWKS_URL": "https://issuer.example/jwks", "VOICE_IDENTITY_PRIVATE_KEY": PRIVATE_KEY},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1
    assert "VOICE_JWT_ISSUER" in ended.stderr


def test_secrets_are_not_shown_and_every_setting_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_REDIS_URL", "redis://:secret@127.0.0.1/0")
    settings: Any = load(GatewaySettings)
    assert PRIVATE_KEY not in repr(settings)
    assert "secret" not in repr(settings)
    assert all(field.description for field in GatewaySettings.model_fields.values())
    assert (settings.processes, settings.cors_origins) == (1, [])
