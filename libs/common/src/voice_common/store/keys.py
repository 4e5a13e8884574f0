"""Ranges of compound keys, all of which begin with the tenant: what a range scan of ``_id`` is given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from bson.max_key import MaxKey
from pymongo.asynchronous.collection import AsyncCollection


def within(**prefix: str) -> dict[str, Any]:
    """Give the condition on ``_id`` that every key beginning with `prefix` (in its order) meets.

    Compound keys are compared field by field, so this is one range of the ``_id`` index.
    """
    return {"$gte": prefix, "$lt": {**prefix, "~": MaxKey()}}


async def pages(
    collection: AsyncCollection[dict[str, Any]],
    prefix: Mapping[str, str],
    *,
    after: Mapping[str, Any] | None = None,
    size: int,
    keys_only: bool = False,
    chosen: Mapping[str, Any] | None = None,
) -> AsyncIterator[list[dict[str, Any]]]:
    """Give the documents whose key begins with `prefix` (all for an empty one) by key, `size` at a time.

    Of those only the ones that meet the condition `chosen`, where there is one.

    Each page is a query of its own from the key after the last one, so the work on a page may take as long as it
    likes and a walk can go on later from `after`.
    """
    bounds = within(**prefix) if prefix else {}
    while True:
        range_ = {**bounds, "$gt": after} if after is not None else bounds
        if after is not None:
            range_.pop("$gte", None)
        wanted = {**(chosen or {}), **({"_id": range_} if range_ else {})}
        found = collection.find(wanted, {"_id": 1} if keys_only else None)
        page = await found.sort("_id", 1).limit(size).to_list()
        if page:
            yield page
        if len(page) < size:
            return
        after = page[-1]["_id"]
