"""Query parameters: each known by name, none twice, none ignored."""

from __future__ import annotations

from typing import TypeVar
from urllib.parse import unquote_plus

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from voice_common.errors import BadRequest, VoiceError

_SHOWN = 64


class QueryModel(BaseModel):
    """A route's query parameters; a field is a parameter, its value is the text that the client sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class NoQuery(QueryModel):
    """No parameter at all."""


Model = TypeVar("Model", bound=QueryModel)


def query_pairs(raw_path: str) -> dict[str, str]:
    """Decode the query of a request target; raise `BadRequest` for a repeated name or for bytes that are no UTF-8."""
    _, _, query = raw_path.partition("?")
    pairs: dict[str, str] = {}
    for part in query.split("&"):
        if not part:
            continue
        name, _, value = part.partition("=")
        try:
            name, value = unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict")
        except UnicodeDecodeError:
            message = "The query must be UTF-8"
            raise BadRequest(message) from None
        if name in pairs:
            raise BadRequest(f"Query parameter {_shown(name)} is given more than once")
        pairs[name] = value
    return pairs


def parse_query(request: web.Request, model: type[Model]) -> Model:
    """Read a request's query into `model`; raise `BadRequest` with a sentence that names what is wrong."""
    pairs = query_pairs(request.raw_path)
    for name in pairs:
        if name not in model.model_fields:
            raise BadRequest(f"Unknown query parameter {_shown(name)}")
    try:
        return model.model_validate(pairs)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, VoiceError):
            raise BadRequest(cause.message) from None
        # A validator's own phrase is for programmers: a parameter that needs more than this raises its sentence itself.
        raise BadRequest(f"{first['loc'][0] if first['loc'] else 'The query'} can't be understood") from None


def _shown(name: str) -> str:
    """Give a name as it can be put into a sentence: printable ASCII, not endless."""
    return ascii(name if len(name) <= _SHOWN else name[:_SHOWN] + "…")[1:-1]
