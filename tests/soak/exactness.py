"""At a quiet moment: every endpoint must say exactly what is true of the calls that were told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soak import truth
from soak.calls import Call
from soak.clients import ANALYTICS, CONVERSATIONS, FRESH, RECORDINGS, Customer, Traffic
from voice_common.times import now_ms

_OK = frozenset({200})
_PAGE = 200


async def complaint(traffic: Traffic, customer: Customer, sample: Sequence[Call]) -> str | None:
    """Read what a tenant can read, of the calls in `sample` everything; give the first thing that is not so."""
    calls = traffic.ledger.begun[customer.mark]
    expected: list[tuple[str, Any]] = [
        (f"{ANALYTICS}/overview", truth.overview(calls)),
        (f"{ANALYTICS}/detailed", truth.detailed(calls)),
        (f"{ANALYTICS}/timeline", truth.days(calls)),
        (f"{ANALYTICS}/timeline?bucket=hour", truth.hours(calls)),
    ]
    for path, body in expected:
        answer = await traffic.see(customer, path, expected=_OK, **FRESH)
        if answer.status != 200 or answer.json() != body:
            return f"{path} of {customer.mark.tenant}: {_said(answer.status, answer.body)}, not {body}"
    return await _list_complaint(traffic, customer, calls) or await _calls_complaint(traffic, customer, sample)


async def _list_complaint(traffic: Traffic, customer: Customer, calls: Sequence[Call]) -> str | None:
    listed: list[dict[str, Any]] = []
    cursor = ""
    while True:
        path = f"{CONVERSATIONS}?channel=voice&limit={_PAGE}{cursor}"
        answer = await traffic.see(customer, path, expected=_OK)
        if answer.status != 200:
            return f"{path}: {_said(answer.status, answer.body)}"
        page = answer.json()
        if page["total"] != min(len(calls), 10_000):
            return f"{path} of {customer.mark.tenant}: a total of {page['total']}, not {len(calls)}"
        listed += page["conversations"]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    now = now_ms()
    expected = {call.id: truth.listed(call, now) for call in calls}
    starts = [(call["started_at"][:19], call["started_at"]) for call in listed]
    if [moment for moment, _ in starts] != sorted((moment for moment, _ in starts), reverse=True):
        return f"the conversations of {customer.mark.tenant} are not listed newest first"
    if len(listed) != len(expected):
        return f"{len(listed)} conversations of {customer.mark.tenant} are listed, not {len(expected)}"
    wrong = next((call for call in listed if call != expected.get(call["id"])), None)
    return None if wrong is None else f"listed: {wrong}, not {expected.get(wrong['id'])}"


async def _calls_complaint(traffic: Traffic, customer: Customer, calls: Sequence[Call]) -> str | None:
    for call in calls:
        now = now_ms()
        expected = (
            (f"{CONVERSATIONS}/{call.id}", 200, truth.detail(call, now)),
            (f"{CONVERSATIONS}/{call.id}/messages", 200, truth.messages(call)),
            (f"{RECORDINGS}/{call.id}", *truth.recording(call)),
        )
        for path, status, body in expected:
            answer = await traffic.see(customer, path, expected=frozenset({status}))
            if answer.status != status or answer.json() != body:
                return f"{path}: {_said(answer.status, answer.body)}, not {status} {body}"
    return None


def _said(status: int | None, body: bytes) -> str:
    return f"{status} {body[:700].decode(errors='replace')}"
