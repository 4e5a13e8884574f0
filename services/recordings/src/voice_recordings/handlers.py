"""The handlers of recordings and conversations: parse, look up, render."""

from __future__ import annotations

from aiohttp import web

from voice_common.errors import NotFound
from voice_common.ids import conversation_id
from voice_common.large import apart
from voice_common.store.facts import messages_of, recording_of, tool_calls_of
from voice_common.store.state import CallState
from voice_common.web.callers import for_tenant
from voice_common.web.query import NoQuery, parse_query
from voice_common.web.render import json_response
from voice_recordings import bodies
from voice_recordings.conversations import EMPTY, Conversation, Conversations, Selection
from voice_recordings.parameters import VOICE, ListQuery

CONVERSATIONS = web.AppKey("conversations", Conversations)


@for_tenant("recordings")
async def get_recording(request: web.Request, tenant: str) -> web.StreamResponse:
    """Answer with a call's latest recording, or 404 with a recording that is not available."""
    conversation, state = await _requested(request, tenant, request.match_info["conversationId"])
    recording = recording_of(state)
    if recording is None:
        return json_response(bodies.no_recording(conversation), status=404)
    return json_response(bodies.recording(recording))


@for_tenant("conversations")
async def list_conversations(request: web.Request, tenant: str) -> web.StreamResponse:
    """Answer with a page of the tenant's conversations, newest first."""
    query = parse_query(request, ListQuery)
    selection, after = Selection(query.period(), query.status), query.after()
    page = EMPTY
    if query.channel == VOICE:
        page = await request.app[CONVERSATIONS].page(
            tenant, selection, limit=query.limit, offset=query.offset, after=after
        )
    return json_response(bodies.page(page, limit=query.limit, offset=query.offset))


@for_tenant("conversations")
async def get_conversation(request: web.Request, tenant: str) -> web.StreamResponse:
    """Answer with one conversation and its tool calls."""
    conversation, state = await _requested(request, tenant, request.match_info["id"])
    return json_response(await apart(state.size, lambda: bodies.detail(conversation, tool_calls_of(state))))


@for_tenant("conversations")
async def list_messages(request: web.Request, tenant: str) -> web.StreamResponse:
    """Answer with a conversation's transcript, oldest first."""
    _, state = await _requested(request, tenant, request.match_info["id"])
    return json_response(await apart(state.size, lambda: bodies.messages(messages_of(state))))


async def _requested(request: web.Request, tenant: str, sent: str) -> tuple[Conversation, CallState]:
    key = conversation_id(sent)
    parse_query(request, NoQuery)
    found = await request.app[CONVERSATIONS].get(tenant, key)
    if found is None:
        raise NotFound("Conversation not found")
    return found
