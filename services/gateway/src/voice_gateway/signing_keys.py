"""The public keys that JWTs are verified by: one from the settings, or a JWKS that is kept fresh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import aiohttp
import jwt
import orjson
import structlog

from voice_common.errors import Unavailable
from voice_gateway.metrics import JWKS_REFRESHES
from voice_gateway.public_keys import SigningKey, keys_in, signing_key

_log = structlog.get_logger("voice.gateway.jwks")
_MAX_DOCUMENT = 1024 * 1024
_FETCH_SECONDS = 5.0
_KINDS = frozenset({"RSA", "EC", "OKP"})
_PUBLIC = ("kty", "crv", "n", "e", "x", "y")
_TEXTS = (*_PUBLIC, "kid", "use", "alg")


class UnknownKeyError(Exception):
    """No known key is the one that the token names."""


class FixedKeys:
    """The keys of ``VOICE_JWT_PUBLIC_KEY`` (PEM): two while the issuer changes its key."""

    def __init__(self, pem: str) -> None:
        self._keys = keys_in(pem)

    async def find(self, _kid: str | None) -> Sequence[SigningKey]:
        """Give the keys, whatever name the token has for its own."""
        return self._keys


class KeySet:
    """A JWKS: refreshed every 5 minutes and on an unknown ``kid``, kept for an hour while its server is down."""

    refresh_seconds = 300.0
    retry_seconds = 15.0
    unknown_kid_seconds = 30.0
    keep_seconds = 3600.0

    def __init__(
        self, url: str, session: aiohttp.ClientSession, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._session = session
        self._clock = clock
        self._keys: Mapping[str | None, tuple[SigningKey, ...]] = {}
        self._fetched_at: float | None = None
        self._asked_for_kid_at: float | None = None
        self._refresh: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Keep the keys fresh until cancelled."""
        while True:
            await self._refreshed()
            stale = self._fetched_at is None or self._clock() - self._fetched_at >= self.refresh_seconds
            await asyncio.sleep(self.retry_seconds if stale else self.refresh_seconds)

    async def find(self, kid: str | None) -> Sequence[SigningKey]:
        """Give the keys named `kid` (the only one, for a token that names none).

        All who ask while a refresh is under way wait for it. Raises `UnknownKeyError`, and
        `Unavailable` where there is no key set to judge by.
        """
        keys = self._known(kid)
        for _ in range(2):  # a refresh that was joined may have read before the key was there; the next one can't have
            if keys or not (self._refresh is not None or self._may_ask()):
                break
            if self._refresh is None:
                self._asked_for_kid_at = self._clock()
            await self._refreshed()
            keys = self._known(kid)
        if keys:
            return keys
        if self._fetched_at is None or self._clock() - self._fetched_at > self.keep_seconds:
            raise Unavailable
        raise UnknownKeyError

    def _known(self, kid: str | None) -> Sequence[SigningKey]:
        if self._fetched_at is None or self._clock() - self._fetched_at > self.keep_seconds:
            return ()
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else ()
        return self._keys.get(kid, ())

    def _may_ask(self) -> bool:
        asked = self._asked_for_kid_at
        return asked is None or self._clock() - asked >= self.unknown_kid_seconds

    async def _refreshed(self) -> None:
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._fetch())
        await asyncio.shield(self._refresh)

    async def _fetch(self) -> None:
        started = self._clock()
        try:
            async with asyncio.timeout(_FETCH_SECONDS), self._session.get(self._url, allow_redirects=False) as answer:
                answer.raise_for_status()
                self._keys = _read(await _limited(answer))
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            JWKS_REFRESHES.labels("failed").inc()
            _log.warning("JWKS can't be fetched", error=type(error).__name__)
        else:
            JWKS_REFRESHES.labels("ok").inc()
            self._fetched_at = started
        finally:
            self._refresh = None


async def _limited(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > _MAX_DOCUMENT:
            message = "the JWKS is too large"
            raise ValueError(message)
    return bytes(body)


def _read(body: bytes) -> dict[str | None, tuple[SigningKey, ...]]:
    """Read a JWK Set (RFC 7517 §5): the keys that verify signatures; raise `ValueError` where it is none.

    Keys of different kinds may share a name (§4.5). What is not understood is passed over, whatever it is.
    """
    document = orjson.loads(body)
    if not isinstance(document, dict) or not isinstance(document.get("keys"), list):
        message = "no JWK Set"
        raise ValueError(message)  # noqa: TRY004 - as what can't be parsed at all
    keys: dict[str | None, tuple[SigningKey, ...]] = {}
    for entry in document["keys"]:
        key = _key_of(entry) if isinstance(entry, dict) else None
        if key is not None:
            kid = entry.get("kid")
            keys[kid] = (*keys.get(kid, ()), key)
    return keys


def _key_of(entry: dict[str, Any]) -> SigningKey | None:
    """Read one key; ``None`` for one that is not for signatures, or not understood."""
    told = {name: entry[name] for name in _TEXTS if entry.get(name) is not None}
    operations = entry.get("key_ops", ["verify"])
    if not all(isinstance(text, str) for text in told.values()) or told.get("use", "sig") != "sig":
        return None
    if told.get("kty") not in _KINDS or not isinstance(operations, list) or "verify" not in operations:
        return None
    try:
        key = signing_key(jwt.PyJWK({name: told[name] for name in _PUBLIC if name in told}).key)
    except (jwt.PyJWTError, ValueError, KeyError):  # what a key lacks is a KeyError of PyJWT's
        return None
    if "alg" not in told:
        return key
    return SigningKey((told["alg"],), key.key) if told["alg"] in key.algorithms else None
