"""Webhook bodies that are almost right: Telnyx's samples and simulated events, with anything in the wrong place."""

from __future__ import annotations

import copy
import itertools
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from voice_common.store.envelope import is_deeper
from voice_local.simulation.calls import generate
from voice_local.simulation.parties import Parties
from voice_webhooks.settings import WebhooksSettings

SAMPLES = Path(__file__).parents[2] / "shared" / "telnyx" / "samples"
CONNECTION = "1001"
MAX_BODY = 1024 * 1024
DEEPEST: int = WebhooksSettings.model_fields["webhook_levels"].default
_names = itertools.count(1)


@dataclass(frozen=True)
class Raw:
    """JSON text, by a name that is short: what no value of Python stands for, or what is too large to show."""

    text: str = field(repr=False)
    name: str

    @classmethod
    def of(cls, value: Any, name: str) -> Raw:
        return cls(json.dumps(value), name)


@cache
def events() -> list[dict[str, Any]]:
    """Give one event of each type: Telnyx's own samples where they are beside the project, and simulated ones."""
    found: dict[str, dict[str, Any]] = {}
    parties = Parties("acme", (CONNECTION,), ("assistant-1",), ("+13125550100",))
    for call in generate(parties, seed=7, count=60, days=1, now=1_736_935_200_000):
        for told in call.events:
            found.setdefault(told.type, {"data": dict(told.data)})
    for path in sorted(SAMPLES.glob("*.json")):
        sample = json.loads(path.read_text())
        found[sample["data"]["event_type"]] = sample
    return list(found.values())


def _nested(depth: int) -> Raw:
    return Raw("[" * depth + "]" * depth, f"{depth} lists in one another")


_WORDS = "I love this, it is NOT bad at all but I hate the awful wait :( !!! "
ODD_TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\udc00\ud800", "\U0010ffff", "\ufeff", "\u202e", "e\u0301" * 9, "$where",
    "a.b", "..", ".", "../../etc/passwd", "%00", "<script>", "null", "true", "NaN", "-1", "1e400", "٣", "\uff11", "İ",
    "\U0001f468\u200d\U0001f469" * 5, "\r\nX-Injected: 1", "sha256:", "session:", "x" * 257, "👍" * 300, "{", "[[",
    '{"sentiment": 1e400}', "[" * 3000,
]  # fmt: skip
ODD_TIMES = [
    "9999-12-31T23:59:59.999999Z", "10000-01-01T00:00:00Z", "9998-12-31T23:59:59.999999-23:59",
    "0001-01-01T00:00:00+23:59", "1969-12-31T23:59:59Z", "1970-01-01T00:00:00+23:59", "1970-01-01T00:00:00Z",
    "2025-02-30T00:00:00Z", "2025-06-30T23:59:60Z", "2025-W03-3", "20250115T100000Z", "2025-01-15", "10:00",
    "2025-01-15T24:00:00Z", "2025-01-15T10:00:00+99:99", "-2025-01-15T10:00:00Z", "1736935200", "tomorrow",
    "2025-01-15 10:00:00.123456789 UTC", "2038-01-19T03:14:08Z", "9998-12-31T00:00:00Z",
]  # fmt: skip
ODD_NUMBERS = [0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**40, -0.0, 1.5, 5e-324, 1e308]
HUGE = [
    Raw.of("x" * 70_000, "70,000 letters"),
    Raw.of("☃" * 20_000, "20,000 signs of three bytes"),
    Raw.of("😀" * 20_000, "20,000 emoji"),
    Raw.of("😀" * 900, "900 emoji"),
    Raw.of(_WORDS * 1500, "100,000 letters in words"),
    Raw.of(" " * 70_000, "70,000 blanks"),
    Raw.of("!" * 70_000, "70,000 exclamation marks"),
    Raw.of("\x00" * 20_000, "20,000 NULs"),
    Raw.of("\ud83d" * 20_000, "20,000 halves of emoji"),
    Raw.of(list(range(20_000)), "20,000 numbers"),
    Raw.of([None] * 50_000, "50,000 nulls"),
    Raw.of([{}] * 20_000, "20,000 empty objects"),
    Raw.of({f"k{n}": n for n in range(10_000)}, "10,000 keys"),
    Raw.of([{"role": "user", "content": f"I hate {n} but love it"} for n in range(5000)], "5,000 short utterances"),
    Raw.of([{"role": "user", "content": f"{n} {_WORDS * 14}"} for n in range(200)], "200 long utterances"),
    Raw.of([{"role": "user", "content": f"{n} {_WORDS * 14}"} for n in range(900)], "900 long utterances"),
    Raw.of(
        [{"tool_calls": [{"id": n, "function": {"name": "f", "arguments": "{}"}}]} for n in range(12_000)],
        "12,000 tool calls",
    ),
    Raw("9" * 4000, "4,000 digits"),
    Raw("9" * 5000, "5,000 digits"),
    Raw("1." + "0" * 5000, "5,000 decimals"),
]
RAW = [
    Raw("1e400", "1e400"), Raw("-1e400", "-1e400"), Raw("NaN", "NaN"), Raw("Infinity", "Infinity"), Raw("-0", "-0"),
    Raw("1E+2", "1E+2"), Raw("01", "01"), Raw("'x'", "single quotes"), Raw(r'"\u12"', "half an escape"),
    Raw(r'"\ud800"', "lone surrogate"), Raw('{"a":1,"a":2}', "a key twice"), Raw("[1,]", "trailing comma"),
    Raw('"\t"', "control character"),
]  # fmt: skip
DEEP = [_nested(100), _nested(900), _nested(20_000), Raw('{"a":' * 800 + "1" + "}" * 800, "800 objects in one another")]
EMPTY: list[Any] = [None, True, False, [], {}, [[]], {"": None}, [None], [[], {}], [""], [{"role": None}]]

texts = st.text(st.characters(exclude_categories=()), max_size=12)
odd_values = st.one_of(
    st.sampled_from(EMPTY), st.sampled_from(ODD_NUMBERS), st.sampled_from(ODD_TEXTS), st.sampled_from(ODD_TIMES),
    st.sampled_from(RAW), texts, st.integers(), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(HUGE), st.sampled_from(DEEP),
)  # fmt: skip


class Change(Enum):
    """A change that is no new value."""

    MISSING = auto()
    AS_TEXT = auto()
    IN_A_LIST = auto()
    REPEATED = auto()


places = st.integers(0, 1000)
names = st.one_of(
    texts,
    st.sampled_from(
        ["messages", "message_history", "text", "role", "results", "tool_calls", "sentiment", "transcription_data",
         "recording_urls", "public_recording_urls", "call_leg_id", "call_control_id", "conversation_id", "occurred_at",
         "start_time", "end_time", "from", "to", "direction"]
    ),
)  # fmt: skip
mutations = st.tuples(places, st.one_of(st.sampled_from(Change), odd_values, st.tuples(names, odd_values)))
spoilings = st.sampled_from(
    [""] * 40 + ["cut", "flip", "bom", "utf-16", "padded", "trailing", "empty", "1 MiB", "more"]
)
signings = st.sampled_from(["good"] * 40 + ["none", "other key", "garbled", "stale", "other bytes"])


@dataclass(frozen=True)
class Told:
    """One delivery of a call: which event, what is wrong with it, and how it is signed."""

    kind: int
    mutations: tuple[tuple[int, Any], ...]
    spoiling: str
    at: int
    signing: str
    is_top: bool


told = st.builds(
    Told,
    st.integers(0, 200),
    st.lists(mutations, max_size=3).map(tuple),
    spoilings,
    places,
    signings,
    st.sampled_from([False] * 8 + [True]),
)
calls = st.lists(told, min_size=1, max_size=5)


def body_of(one: Told, session: str) -> bytes:
    """Give the bytes of one delivery in the call `session`."""
    known = events()
    document = copy.deepcopy(known[one.kind % len(known)])
    data = document["data"]
    data["id"] = f"{session}-{next(_names)}"
    data["payload"] |= {"connection_id": CONNECTION, "call_session_id": session}
    for place, change in one.mutations:
        _mutate(document, place, change)
    text = encoded(document.get("data", document) if one.is_top else document)
    return _spoiled(text, one.spoiling, one.at)


def encoded(document: Any) -> bytes:
    """Give JSON, with what is raw put in as it stands."""
    raws: list[str] = []

    def placed(value: Any) -> Any:
        if isinstance(value, Raw):
            raws.append(value.text)
            return f"@raw:{len(raws) - 1}@"
        if isinstance(value, dict):
            return {key: placed(item) for key, item in value.items()}
        return [placed(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(placed(document))
    return re.sub(r'"@raw:(\d+)@"', lambda found: raws[int(found[1])], text).encode()


def _mutate(document: Any, place: int, change: Any) -> None:
    slots = list(_slots(document))
    if not slots:
        return
    parent, key = slots[place % len(slots)]
    value = parent[key]
    if change is Change.MISSING:
        del parent[key]
    elif change is Change.AS_TEXT:
        parent[key] = 17 if isinstance(value, str) else json.dumps(value, default=repr)
    elif change is Change.IN_A_LIST:
        parent[key] = [value]
    elif change is Change.REPEATED:
        parent[key] = [value] * 500
    elif isinstance(change, tuple):
        name, extra = change
        if isinstance(parent, dict):
            parent[name] = extra
    else:
        parent[key] = copy.deepcopy(change)


def _slots(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        for key in list(value):
            yield value, key
            yield from _slots(value[key])
    elif isinstance(value, list) and len(value) < 100:
        for index in range(len(value)):
            yield value, index
            yield from _slots(value[index])


def _spoiled(body: bytes, spoiling: str, at: int) -> bytes:
    if spoiling == "cut":
        return body[: at % (len(body) + 1)]
    if spoiling == "flip":
        chance = random.Random(at)  # noqa: S311 - no secret
        spot = chance.randrange(len(body)) if body else 0
        return body[:spot] + bytes([chance.randrange(256)]) + body[spot + 1 :]
    if spoiling in {"1 MiB", "more"}:
        return body + b" " * (MAX_BODY + (spoiling == "more") - len(body))
    return {
        "": body,
        "bom": b"\xef\xbb\xbf" + body,
        "utf-16": body.decode().encode("utf-16"),
        "padded": b"\n\t " + body + b"\r\n",
        "trailing": body + b"}",
        "empty": b"",
    }[spoiling]


def must_be_taken(body: bytes) -> bool | None:
    """Tell whether a signed body is an event by plain JSON and the contract; ``None`` where parsers may differ."""
    try:
        document = json.loads(body.decode(), parse_constant=_refuse)
    except RecursionError:
        return None
    except ValueError as error:
        return None if "integer string conversion" in str(error) else False
    if not isinstance(document, dict) or is_deeper(body, document, DEEPEST):
        return False
    data = document["data"] if isinstance(document.get("data"), dict) else document
    event, kind = data.get("id"), data.get("event_type")
    has_id = (isinstance(event, str) and event != "") or (isinstance(event, int) and not isinstance(event, bool))
    if isinstance(event, int) and abs(event) >= 2**63:
        return None
    return has_id and isinstance(kind, str) and kind != ""


def _refuse(constant: str) -> Any:
    raise ValueError(constant)
