"""Settings: read from the environment; a wrong one is one sentence that names it."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, Field, ValidationError

from voice_common.settings import (
    DurationMs,
    Ed25519Keys,
    IdentitySettings,
    ServiceSettings,
    SettingsError,
    StoreSettings,
    Words,
    duration_ms,
    load,
)

KEYS = ["AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="]


class Both(StoreSettings, IdentitySettings):
    """A service with both bases."""

    words: Words = Field(["none"])
    telnyx_public_keys: Ed25519Keys = Field([])
    call_timeout: DurationMs = 15_000_000


class BothTurned(IdentitySettings, StoreSettings):
    """The bases in the other order."""


class Timeout(BaseModel):
    """One duration."""

    value: DurationMs


@pytest.mark.parametrize("model", [Both, BothTurned])
def test_settings_have_one_prefix_whatever_the_order_of_their_bases(
    monkeypatch: pytest.MonkeyPatch, model: type[Both | BothTurned]
) -> None:
    monkeypatch.setenv("VOICE_IDENTITY_PUBLIC_KEYS", f" {KEYS[0]} , {KEYS[1]},")
    monkeypatch.setenv("VOICE_PORT", "8123")
    monkeypatch.setenv("PORT", "1")
    settings = load(model)
    assert settings.identity_public_keys == KEYS
    assert settings.port == 8123


def test_lists_and_durations_are_read_from_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_IDENTITY_PUBLIC_KEYS", KEYS[0])
    monkeypatch.setenv("VOICE_WORDS", "one, two ,,three")
    monkeypatch.setenv("VOICE_TELNYX_PUBLIC_KEYS", "")
    monkeypatch.setenv("VOICE_CALL_TIMEOUT", "90m")
    settings = load(Both)
    assert settings.words == ["one", "two", "three"]
    assert settings.telnyx_public_keys == []
    assert settings.call_timeout == 5_400_000


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("VOICE_PORT", "eighty"),
        ("VOICE_PORT", "65536"),
        ("VOICE_WORKERS", "0"),
        ("VOICE_LOG_LEVEL", "loud"),
        ("VOICE_DRAIN_SECONDS", "-1"),
        ("VOICE_MONGO_DATABASE", ""),
        ("VOICE_IDENTITY_PUBLIC_KEYS", ""),
        ("VOICE_IDENTITY_PUBLIC_KEYS", "c2hvcnQ="),
        ("VOICE_IDENTITY_PUBLIC_KEYS", f"{KEYS[0]},not base64"),
        ("VOICE_TELNYX_PUBLIC_KEYS", "secret-looking-text"),
        ("VOICE_CALL_TIMEOUT", "4 hours"),
    ],
)
def test_a_wrong_setting_is_a_sentence_that_names_it_and_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv("VOICE_IDENTITY_PUBLIC_KEYS", KEYS[0])
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as refused:
        load(Both)
    sentence = str(refused.value)
    assert sentence.startswith(f"{variable} is wrong: ")
    assert "\n" not in sentence
    assert len(value) < 5 or value not in sentence


def test_a_missing_setting_is_a_sentence_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOICE_IDENTITY_PUBLIC_KEYS", raising=False)
    with pytest.raises(SettingsError, match=r"^VOICE_IDENTITY_PUBLIC_KEYS is wrong: "):
        load(Both)


def test_other_variables_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICE_SOMETHING_ELSE", "x")
    assert load(ServiceSettings).workers == 1


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("15000", 15_000_000), ("0.5", 500), ("0.0019", 1), ("4h10m", 15_000_000), ("4h10min", 15_000_000),
        ("4 h 10 min", 15_000_000), ("4h 10m", 15_000_000), ("90d", 7_776_000_000), ("1d12h", 129_600_000),
        ("1.5h", 5_400_000), ("250ms", 250), ("1m30s", 90_000), ("1s500ms", 1500),
    ],
)  # fmt: skip
def test_a_duration_is_seconds_or_text_with_units(text: str, ms: int) -> None:
    assert duration_ms(text) == ms
    assert Timeout.model_validate({"value": text}).value == ms


@pytest.mark.parametrize(
    "text",
    ["", " ", "h", "4x", "4 hours", "-4h", "4h-10m", "four", "4h10", "10 4h", "1e3", "PT4H", "4h,10m", "4H", "٤h",
     "nan", "1_000", "4hh", "4..5h", "4h10m!", "inf"],
)  # fmt: skip
def test_another_text_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be seconds or a duration"):
        duration_ms(text)


@pytest.mark.parametrize("text", ["0", "0s", "0.0001"])
def test_a_duration_setting_is_more_than_nothing(text: str) -> None:
    with pytest.raises(ValidationError):
        Timeout.model_validate({"value": text})
