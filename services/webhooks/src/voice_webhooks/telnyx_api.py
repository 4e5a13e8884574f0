"""Telnyx's REST API, as far as webhooks are configured by it: Call Control applications and the public key.

`TELNYX: https://developers.telnyx.com, "Call Control Applications"`. The API key is sent to that API alone, and is
in no error, log or representation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson

DEFAULT_URL = "https://api.telnyx.com/v2"
_SECONDS = 10.0
_PAGE = 250
_MOST_PAGES = 40
_NOT_FOUND = 404
_SERVER_FAILED = 500
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class TelnyxError(Exception):
    """Telnyx did not do what it was asked; the text is one sentence that says why and what to do."""


class NotThereError(TelnyxError):
    """Telnyx knows nothing under this address."""


@dataclass(frozen=True, slots=True)
class Application:
    """A Call Control application, as far as webhooks go; its id is what events call ``connection_id``."""

    id: str
    name: str
    active: bool
    url: str
    failover_url: str
    api_version: str

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Application:
        """Read what the API tells of an application."""
        return cls(
            str(document.get("id") or ""),
            str(document.get("application_name") or ""),
            document.get("active") is True,
            str(document.get("webhook_event_url") or ""),
            str(document.get("webhook_event_failover_url") or ""),
            str(document.get("webhook_api_version") or ""),
        )

    def settings(self) -> dict[str, str]:
        """Give what an update sends: the name and the URL are required there, whether they change or not."""
        return {
            "application_name": self.name,
            "webhook_event_url": self.url,
            "webhook_api_version": self.api_version,
            **({"webhook_event_failover_url": self.failover_url} if self.failover_url else {}),
        }


class TelnyxApi:
    """The API, to be used by ``async with``. Every method raises `TelnyxError`."""

    def __init__(self, key: str, *, url: str = DEFAULT_URL, seconds: float = _SECONDS) -> None:
        self._key = key
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._seconds),
            headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"},
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def applications(self) -> list[Application]:
        """Give all Call Control applications of the account."""
        found: list[Application] = []
        for page in range(1, _MOST_PAGES + 1):
            document = await self._ask(
                "GET",
                "/call_control_applications",
                "the list of applications",
                params={"page[number]": str(page), "page[size]": str(_PAGE)},
            )
            found += [Application.read(each) for each in document.get("data") or [] if isinstance(each, dict)]
            if page >= int((document.get("meta") or {}).get("total_pages") or 1):
                break
        return found

    async def application(self, application_id: str) -> Application:
        """Give one application; raises `NotThereError` too."""
        document = await self._ask("GET", _path(application_id), f"the application {application_id}")
        return Application.read(_data_of(document))

    async def update(self, wanted: Application) -> Application:
        """Set an application's webhooks; give it as it is now."""
        document = await self._ask(
            "PATCH", _path(wanted.id), f"the application {wanted.id}", body=orjson.dumps(wanted.settings())
        )
        return Application.read(_data_of(document))

    async def public_key(self) -> str:
        """Give the account's public key (base64); raises `NotThereError` where the API does not tell."""
        document = await self._ask("GET", "/public_key", "the account's public key")
        key = _data_of(document).get("public")
        if not isinstance(key, str) or not key:
            raise NotThereError("Telnyx' answer has no public key in it")
        return key

    async def _ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> dict[str, Any]:
        if self._session is None:
            raise RuntimeError("to be used by async with")
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            # Redirects are not followed: the key is for this address alone.
            async with self._session.request(
                method, self._url + path, params=params, data=body, headers=headers, allow_redirects=False
            ) as response:
                text = await response.read()
                status, retry_after = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            raise TelnyxError(
                f"Telnyx did not answer within {self._seconds:g} s; try again, or see its status page"
            ) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TelnyxError(
                f"Telnyx can't be reached at {self._url} ({type(error).__name__}); may this machine go there?"
            ) from None
        document = _read(text)
        if status == 200 and document is not None:  # noqa: PLR2004 - OK
            return document
        raise _refusal(status, document or {}, what, retry_after)


def _path(application_id: str) -> str:
    if not _ID.fullmatch(application_id):
        raise NotThereError(f"{application_id!r} is no application's id; list them with: voice telnyx check")
    return f"/call_control_applications/{application_id}"


def _read(text: bytes) -> dict[str, Any] | None:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _data_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    data = document.get("data")
    if not isinstance(data, dict):
        raise TelnyxError("Telnyx answered something that can't be understood; try again")
    return data


def _refusal(status: int, document: Mapping[str, Any], what: str, retry_after: str) -> TelnyxError:
    reasons = "; ".join(_reasons(document)) or "it gives no reason"
    keys = "Mission Control, Keys & Credentials, API Keys"
    sentences = {
        400: f"Telnyx refuses the request (400: {reasons}); nothing was changed",
        401: f"Telnyx refuses the API key (401); take one from {keys}, and set VOICE_TELNYX_API_KEY",
        403: f"The API key may not use {what} (403: {reasons}); give it the right in {keys}",
        404: f"Telnyx has not {what} (404); list the applications with: voice telnyx check",
        422: f"Telnyx refuses the request (422: {reasons}); nothing was changed",
        429: f"Telnyx limits how often it is asked (429); try again {_wait(retry_after)}",
    }
    if status >= _SERVER_FAILED:
        return TelnyxError(f"Telnyx failed ({status}); try again, or see its status page")
    strange = f"Telnyx answered {status}, which can't be understood; see whether VOICE_TELNYX_API_URL is right"
    return (NotThereError if status == _NOT_FOUND else TelnyxError)(sentences.get(status, strange))


def _wait(retry_after: str) -> str:
    return f"in {retry_after} s" if retry_after.isdigit() else "in a minute"


def _reasons(document: Mapping[str, Any]) -> list[str]:
    """Give what Telnyx says is wrong: ``errors[{code, title, detail, source{pointer}}]``."""
    reasons = []
    for error in document.get("errors") or []:
        if isinstance(error, dict):
            source = error.get("source")
            pointer = source.get("pointer") if isinstance(source, dict) else None
            said = error.get("detail") or error.get("title") or error.get("code") or "no reason given"
            reasons.append(f"{pointer}: {said}" if pointer else str(said))
    return reasons
