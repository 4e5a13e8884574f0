"""Query parameters: known by name, none twice, none ignored."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request
from pydantic import Field

from voice_common.errors import BadRequest
from voice_common.web.query import QueryModel, parse_query, query_pairs


class Query(QueryModel):
    """Two parameters."""

    name: str | None = None
    size: str = Field("small", max_length=5)


def parse(target: str) -> Query:
    return parse_query(make_mocked_request("GET", target), Query)


@pytest.mark.parametrize(
    ("target", "pairs"),
    [
        ("/a", {}),
        ("/a?", {}),
        ("/a?&&", {}),
        ("/a?x=1&y=2", {"x": "1", "y": "2"}),
        ("/a?x", {"x": ""}),
        ("/a?x=a=b", {"x": "a=b"}),
        ("/a?x=a+b%20c%2Bd", {"x": "a b c+d"}),
        ("/a?%78=%C3%A9", {"x": "é"}),
        ("/a?x=1?y=2", {"x": "1?y=2"}),
        ("/a?x=1;y=2", {"x": "1;y=2"}),
    ],
)
def test_a_query_is_decoded_once(target: str, pairs: dict[str, str]) -> None:
    assert query_pairs(target) == pairs


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("/a?x=1&x=1", "Query parameter x is given more than once"),
        ("/a?x=1&%78=2", "Query parameter x is given more than once"),
        ("/a?x=%ff", "The query must be UTF-8"),
        ("/a?%ff=1", "The query must be UTF-8"),
    ],
)
def test_a_repeated_or_undecodable_parameter_is_refused(target: str, sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        query_pairs(target)
    assert refused.value.message == sentence


def test_known_parameters_are_read_and_others_have_their_defaults() -> None:
    assert parse("/a?name=%20x") == Query(name=" x", size="small")
    assert parse("/a").name is None


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("/a?nam=1", "Unknown query parameter nam"),
        ("/a?Name=1", "Unknown query parameter Name"),
        ("/a?name[$ne]=1", "Unknown query parameter name[$ne]"),
        ("/a?=1", "Unknown query parameter "),
        ("/a?%0Aevil%22=1", 'Unknown query parameter \\nevil"'),
        ("/a?model_config=1", "Unknown query parameter model_config"),
        ("/a?name=1&name=2&other=3", "Query parameter name is given more than once"),
    ],
)
def test_an_unknown_parameter_is_refused_by_its_name(target: str, sentence: str) -> None:
    with pytest.raises(BadRequest) as refused:
        parse(target)
    assert refused.value.message == sentence


def test_a_name_without_end_is_cut_in_the_sentence() -> None:
    with pytest.raises(BadRequest) as refused:
        parse(f"/a?{'x' * 5000}=1")
    assert len(refused.value.message) < 120


def test_a_value_that_does_not_fit_is_refused_with_the_parameters_name() -> None:
    with pytest.raises(BadRequest, match=r"^size can't be understood$"):
        parse("/a?size=enormous")
