"""What a request is addressed to: a target that no hop can read in two ways, on the public or the operators' port."""

from __future__ import annotations

import re

from aiohttp import hdrs, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_TARGET = re.compile(r"/[!-~]*")
_ODD = re.compile(r"#|%(?:2f|5c|00)|\\|/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)

_ABSOLUTE = re.compile(
    r"https?://(?P<host>(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?)(?P<path>/[^?]*)?(?:\?(?P<query>.*))?",
    re.IGNORECASE | re.DOTALL,
)


def in_origin_form(message: RawRequestMessage) -> RawRequestMessage:
    """Give a request whose target is in absolute form as one in origin form, any other one as it is.

    The host is then the target's, whatever ``Host`` says (RFC 9112 §3.2.2).
    """
    matched = _ABSOLUTE.fullmatch(message.path)
    if matched is None:
        return message
    path, query = matched["path"] or "/", matched["query"]
    headers = CIMultiDict(message.headers)
    headers[hdrs.HOST] = matched["host"]
    return message._replace(
        path=path if query is None else f"{path}?{query}",
        url=URL.build(path=path, query_string=query or "", encoded=True),
        headers=CIMultiDictProxy(headers),
    )


def is_clean(target: str) -> bool:
    """Tell whether a request target is an origin-form that no hop can read in two ways."""
    return _TARGET.fullmatch(target) is not None and "#" not in target and _ODD.search(target.partition("?")[0]) is None


def is_internal(request: web.BaseRequest, metrics_port: int) -> bool:
    """Tell whether a request came in by the operators' port."""
    sockname = request.protocol.sockname
    return bool(metrics_port) and isinstance(sockname, tuple) and sockname[1] == metrics_port
