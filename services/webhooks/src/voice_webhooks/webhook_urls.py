"""Where Telnyx should send its webhooks, and whether they would arrive there."""

from __future__ import annotations

from urllib.parse import urlsplit

import aiohttp
import orjson

PATH = "/api/webhooks/telnyx/voice"
PATHS = (PATH, f"{PATH}/conversational-ai")
_PROBE_SECONDS = 5
_REFUSED = 401


class WrongUrlError(ValueError):
    """A URL at which no webhook would arrive; the text says why."""


def webhook_url(text: str) -> str:
    """Give the URL of the webhooks for a base URL (``https://voice.example.com``), or a whole one as it is.

    Raises `WrongUrlError` where it is not https, or its path is not one that takes webhooks.
    """
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError:
        raise WrongUrlError(f"{text} is no URL") from None
    if parts.scheme != "https":
        raise WrongUrlError(f"{text} is not https, and webhooks tell of people's calls; begin it with https://")
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment:
        raise WrongUrlError(f"{text} must be https://HOST, or https://HOST{PATH}, and nothing else")
    if parts.path.rstrip("/") not in {"", *PATHS}:
        raise WrongUrlError(f"{parts.path} takes no webhooks; the path is {PATH}, which is added to https://HOST")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"https://{host}{'' if port is None else f':{port}'}{parts.path.rstrip('/') or PATH}"


async def unreachable(url: str) -> str | None:
    """Tell why a webhook would not arrive at `url`, seen from here; ``None`` where it would.

    Sends one without a signature: this system refuses it with a 401 of its own, and keeps nothing of it.
    """
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_PROBE_SECONDS)) as session,
            session.post(url, data=b"{}", allow_redirects=False) as response,
        ):
            body = await response.content.read(4096)
            status = response.status
    except TimeoutError:
        return f"nothing answers within {_PROBE_SECONDS} s"
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"it can't be reached from here ({type(error).__name__})"
    try:
        refused = status == _REFUSED and orjson.loads(body) == {"error": "Invalid webhook signature"}
    except orjson.JSONDecodeError:
        refused = False
    return None if refused else f"what answers there ({status}) is not a Voice System"
