"""The internal identity: only what the gateway signed, for this service, a minute ago at most."""

from __future__ import annotations

import base64

import orjson
import pytest
from nacl.signing import SigningKey

from voice_common.identity import (
    LIFETIME,
    Identity,
    IdentitySigner,
    IdentityVerifier,
    InvalidIdentityError,
    new_key_pair,
    public_key_of,
)

PRIVATE, PUBLIC = new_key_pair()
IDENTITY = Identity("acme", frozenset({"analytics:read", "recordings:read"}), "request-1")
NOW = 1_700_000_000.0


def signed(identity: Identity = IDENTITY, service: str = "recordings", now: float = NOW, private: str = PRIVATE) -> str:
    return IdentitySigner(private).sign(identity, service, now=now)


def verifier(*keys: str) -> IdentityVerifier:
    return IdentityVerifier(keys or (PUBLIC,), "recordings")


@pytest.mark.parametrize("identity", [IDENTITY, Identity(None, frozenset(), "request-2")])
def test_what_the_gateway_signed_is_read_back(identity: Identity) -> None:
    assert verifier().verify(signed(identity), now=NOW) == identity


def test_an_identity_lives_a_minute_at_most() -> None:
    assert LIFETIME <= 60
    header = signed()
    assert verifier().verify(header, now=NOW + LIFETIME - 1) == IDENTITY
    with pytest.raises(InvalidIdentityError):
        verifier().verify(header, now=NOW + LIFETIME + 5)


def test_an_identity_from_the_far_future_is_refused() -> None:
    with pytest.raises(InvalidIdentityError):
        verifier().verify(signed(now=NOW + 60), now=NOW)


def test_an_identity_for_another_service_is_refused() -> None:
    with pytest.raises(InvalidIdentityError, match="another service"):
        verifier().verify(signed(service="analytics"), now=NOW)


def test_a_forged_identity_is_refused() -> None:
    with pytest.raises(InvalidIdentityError):
        verifier().verify(signed(private=new_key_pair()[0]), now=NOW)


def test_a_changed_payload_is_refused() -> None:
    payload, _, signature = signed().partition(".")
    fields = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    changed = orjson.dumps(fields | {"tenant": "other"})
    with pytest.raises(InvalidIdentityError):
        verifier().verify(f"{base64.urlsafe_b64encode(changed).rstrip(b'=').decode()}.{signature}", now=NOW)


@pytest.mark.parametrize("header", [None, "", ".", "a", "a.b.c", "é.é", "!!!.???", "AAAA.AAAA", "." * 9000, "a" * 9000])
def test_a_malformed_identity_is_refused(header: str | None) -> None:
    with pytest.raises(InvalidIdentityError):
        verifier().verify(header, now=NOW)


def test_keys_are_rotated_by_trusting_both_for_a_while() -> None:
    new_private, new_public = new_key_pair()
    old, new = signed(), signed(private=new_private)
    both = verifier(PUBLIC, new_public)
    assert both.verify(old, now=NOW) == both.verify(new, now=NOW) == IDENTITY
    with pytest.raises(InvalidIdentityError):
        verifier(new_public).verify(old, now=NOW)


def test_a_public_key_follows_from_the_private_one() -> None:
    assert public_key_of(PRIVATE) == PUBLIC
    assert len(base64.b64decode(PUBLIC)) == 32
    assert SigningKey(base64.b64decode(PRIVATE)).verify_key.encode() == base64.b64decode(PUBLIC)
