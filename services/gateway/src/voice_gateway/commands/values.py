"""The values of options that ``voice tenant`` takes, read and checked."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import click

from voice_common.store.tenants import AreaName, RetentionKind

FOR_EVER = "forever"
"""How long what is never deleted is kept."""

_HIGHEST_LIMIT = 1_000_000
_LONGEST_RETENTION = 36_500


class Limit(click.ParamType[Any]):
    """``AREA=N``: requests a minute."""

    name = "area=n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[AreaName, int]:  # noqa: ANN401 - click's own signature
        """Give the area and its figure."""
        if isinstance(value, tuple):
            return value
        area, _, figure = str(value).partition("=")
        names = ", ".join(AreaName)
        if area not in set(AreaName):
            self.fail(f"{area!r} is no area; there are {names}", param, ctx)
        if not (figure.isascii() and figure.isdigit() and 1 <= int(figure) <= _HIGHEST_LIMIT):
            self.fail(f"{area} takes 1 to {_HIGHEST_LIMIT} requests a minute", param, ctx)
        return AreaName(area), int(figure)


class Retention(click.ParamType[Any]):
    """``KIND=DAYS`` or ``KIND=forever``."""

    name = "kind=days"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's own signature
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> tuple[RetentionKind, int | None]:
        """Give the kind and its days, ``None`` for ever."""
        if isinstance(value, tuple):
            return value
        kind, _, days = str(value).partition("=")
        if kind not in set(RetentionKind):
            self.fail(f"{kind!r} is nothing that is kept; there are {', '.join(RetentionKind)}", param, ctx)
        if days == FOR_EVER:
            return RetentionKind(kind), None
        if not (days.isascii() and days.isdigit() and 1 <= int(days) <= _LONGEST_RETENTION):
            self.fail(f"{kind} are kept for 1 to {_LONGEST_RETENTION} whole days, or {FOR_EVER}", param, ctx)
        return RetentionKind(kind), int(days)


class PublicKey(click.ParamType[Any]):
    """An Ed25519 public key in base64."""

    name = "base64"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - click's own signature
        """Give the key in canonical base64."""
        try:
            raw = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) != 32:  # noqa: PLR2004 - RFC 8032 §5.1.5
            self.fail("A public key is base64 of 32 bytes", param, ctx)
        return base64.b64encode(raw).decode()
