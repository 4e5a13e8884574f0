"""What schemathesis is told beside the document: how Telnyx signs, and which rules no schema can say.

Loaded by its command line (``SCHEMATHESIS_HOOKS``); ``TELNYX_KEY`` is the private key that signs.
"""

from __future__ import annotations

import json
import os
from typing import Any

import requests
import schemathesis
from requests.auth import AuthBase
from schemathesis.auths import AuthContext, RequestsAuth
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.openapi.checks import RejectedPositiveData

from voice_local.simulation.delivery import Signer

OF_THE_WHOLE_QUERY = frozenset(
    {
        "start_date must not be after end_date",
        "fill=zero needs both start_date and end_date",
        "fill=zero gives at most 10000 buckets: choose a shorter range or bucket=day",
        "cursor and offset can't be given together",
        "cursor must be the next_cursor of an earlier answer",
    }
)
"""400s for a query whose parameters are each as their schemas say. All of them are in the document as examples."""


class TelnyxSignature(AuthBase):
    """Signs the bytes that are sent, as Telnyx does."""

    def __init__(self, key: str) -> None:
        self._signer = Signer(key)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        if isinstance(body, str):
            body = body.encode()
        assert isinstance(body, bytes)
        request.headers.update(self._signer.headers(body))
        return request


class Telnyx(RequestsAuth[TelnyxSignature]):
    """Signs every webhook but those whose missing or wrong signature is the point."""

    def __init__(self) -> None:
        super().__init__(TelnyxSignature(os.environ["TELNYX_KEY"]))

    def set(self, case: Case[Any], data: TelnyxSignature, context: AuthContext) -> None:
        if case.meta is None or not case.meta.is_negative_at(ParameterLocation.HEADER):
            super().set(case, data, context)


schemathesis.auth(refresh_interval=None).apply_to(method="POST")(Telnyx)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:  # noqa: ARG001 - by name
    """Drop a refusal of a query whose parts are well-formed and that makes no sense as a whole."""
    if not isinstance(failure, RejectedPositiveData) or response.status_code != 400:
        return True
    return json.loads(response.content)["error"] not in OF_THE_WHOLE_QUERY
