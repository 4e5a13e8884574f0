"""Every query parameter of a service says in the contract's words what is wrong with it."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from aiohttp.test_utils import make_mocked_request
from fuzz_bodies import ODD_TEXTS

import voice_analytics.parameters
import voice_recordings.parameters
from voice_common.errors import BadRequest
from voice_common.web.query import QueryModel, parse_query

MODELS = [
    model
    for module in (voice_analytics.parameters, voice_recordings.parameters)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, QueryModel) and model is not QueryModel
]


@pytest.mark.parametrize(("model", "name"), [(model, name) for model in MODELS for name in model.model_fields], ids=str)
def test_no_parameter_answers_with_a_validators_phrase(model: type[QueryModel], name: str) -> None:
    for text in ("", " ", "x", "-1", "1e9", *ODD_TEXTS):
        try:
            target = f"/?{name}={quote(text)}"
        except UnicodeEncodeError:
            continue
        said = ""
        try:
            parse_query(make_mocked_request("GET", target), model)
        except BadRequest as error:
            said = error.message
        assert "can't be understood" not in said
