"""What a request is addressed to: a target that no hop can read in two ways, on the public or the operators' port."""

from __future__ import annotations

import re

from aiohttp import web

_TARGET = re.compile(r"/[!-~]*")
_ODD = re.compile(r"#|%(?:2f|5c|00)|\\|/(?:\.|%2e){1,2}(?:/|$)", re.IGNORECASE)


def is_clean(target: str) -> bool:
    """Tell whether a request target is an origin-form that no hop can read in two ways."""
    return _TARGET.fullmatch(target) is not None and "#" not in target and _ODD.search(target.partition("?")[0]) is None


def is_internal(request: web.BaseRequest, metrics_port: int) -> bool:
    """Tell whether a request came in by the operators' port."""
    sockname = request.protocol.sockname
    return bool(metrics_port) and isinstance(sockname, tuple) and sockname[1] == metrics_port
