"""The forms of ids that callers send."""

from __future__ import annotations

import random
import re

from voice_common.errors import BadRequest

CONVERSATION_ID_PATTERN = "^[A-Za-z0-9._:-]{1,128}$"
"""The form of a conversation id, as schemas have patterns."""

_CONVERSATION_ID = re.compile(CONVERSATION_ID_PATTERN.strip("^$"))
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_TENANT_ID = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")


def is_conversation_id(value: str) -> bool:
    """Tell whether `value` has the form of a conversation id: 1 to 128 characters of ``A-Za-z0-9._:-``."""
    return _CONVERSATION_ID.fullmatch(value) is not None


def conversation_id(value: str) -> str:
    """Give `value` back when it has the form of a conversation id; raise `BadRequest` when not."""
    if not is_conversation_id(value):
        raise BadRequest("A conversation id is 1 to 128 characters of A-Za-z0-9._:-")
    return value


def is_tenant_id(value: str) -> bool:
    """Tell whether `value` has the form of a tenant id: 1 to 64 of ``a-z0-9._-``, a letter or digit at both ends."""
    return _TENANT_ID.fullmatch(value) is not None


def request_id(value: str | None) -> str:
    """Give the client's own request id when it is 1 to 128 characters of ``A-Za-z0-9._-``, else a new one."""
    if value is not None and _REQUEST_ID.fullmatch(value):
        return value
    return f"{random.getrandbits(128):032x}"  # unique, no secret; and far cheaper than uuid4
