"""Work on what is large, beside the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_LARGE = 500
P = ParamSpec("P")
T = TypeVar("T")


async def apart(size: int, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Give what `function` gives; in a thread where `size`, of tool calls and utterances, is large.

    A thread does not make it faster: the interpreter's lock goes back to the event loop every 5 ms, so that no
    request waits for the whole of it.
    """
    if size > _LARGE:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)
