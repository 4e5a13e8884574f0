"""The joins that a call's state is made of: each is commutative, associative and idempotent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")
K = TypeVar("K")


class Stamped(NamedTuple, Generic[T]):
    """A value with the event that said it: `at` in milliseconds, ties broken by the event's id."""

    at: int
    event: str
    value: T


def least(left: int | None, right: int | None) -> int | None:
    """Give the smaller of two numbers; ``None`` is the bottom."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right)


def greatest(left: int | None, right: int | None) -> int | None:
    """Give the greater of two numbers; ``None`` is the bottom."""
    if left is None or right is None:
        return right if left is None else left
    return max(left, right)


def earliest(left: Stamped[T] | None, right: Stamped[T] | None) -> Stamped[T] | None:
    """Give what the earlier event said."""
    if left is None or right is None:
        return right if left is None else left
    return min(left, right, key=_order)


def latest(left: Stamped[T] | None, right: Stamped[T] | None) -> Stamped[T] | None:
    """Give what the later event said."""
    if left is None or right is None:
        return right if left is None else left
    return max(left, right, key=_order)


def join_maps(left: Mapping[K, T], right: Mapping[K, T], join: Callable[[T, T], T]) -> dict[K, T]:
    """Join two maps key by key."""
    if not left:
        return dict(right)
    joined = dict(left)
    for key, value in right.items():
        joined[key] = join(joined[key], value) if key in joined else value
    return joined


def greater(left: T, right: T) -> T:
    """Give the greater of two values of one type, whatever it is: what a key that was said twice comes to."""
    return left if left == right else max(left, right, key=repr)


def _order(stamped: Stamped[T]) -> tuple[int, str, str]:
    return stamped.at, stamped.event, repr(stamped.value)
