"""What stands in for Telnyx' storage: recordings that players can play, and jump in."""

from __future__ import annotations

import io
import wave
from collections.abc import AsyncIterator

import aiohttp
import pytest

from voice_local.process import free_port
from voice_local.storage import Storage, recording_url

SECONDS = 21
SIZE = 44 + SECONDS * 8000 * 2


@pytest.fixture
async def url() -> AsyncIterator[str]:
    port = free_port()
    storage = Storage(port)
    await storage.start()
    yield recording_url(port, "a-name", SECONDS)
    await storage.stop()


async def asked(url: str, **headers: str) -> tuple[int, bytes, str | None]:
    async with aiohttp.ClientSession() as session, session.get(url, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers.get("Content-Range")


async def test_a_recording_is_a_wav_file_of_its_length_with_sound_in_it(url: str) -> None:
    status, body, _ = await asked(url)
    assert status == 200
    with wave.open(io.BytesIO(body)) as file:
        assert (file.getnframes() / file.getframerate(), file.getnchannels()) == (SECONDS, 1)
        assert len(set(file.readframes(1000))) > 50


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-", 0, SIZE),
        ("bytes=10-99", 10, 100),
        ("bytes=44-44", 44, 45),
        ("bytes=300001-300100", 300_001, 300_101),
        ("bytes=-7", SIZE - 7, SIZE),
        ("bytes=100-99999999", 100, SIZE),
    ],
)
async def test_a_part_is_that_part_of_the_whole(url: str, wanted: str, start: int, stop: int) -> None:
    _, whole, _ = await asked(url)
    assert len(whole) == SIZE
    assert await asked(url, Range=wanted) == (206, whole[start:stop], f"bytes {start}-{stop - 1}/{SIZE}")


@pytest.mark.parametrize("wanted", [f"bytes={SIZE}-", "bytes=9-3", "lines=1-2"])
async def test_a_part_that_is_none_is_refused(url: str, wanted: str) -> None:
    assert await asked(url, Range=wanted) == (416, b"", f"bytes */{SIZE}")


@pytest.mark.parametrize("query", ["", "?seconds=0", "?seconds=3601", "?seconds=x"])
async def test_what_is_no_recording_is_not_found(url: str, query: str) -> None:
    assert (await asked(url.partition("?")[0] + query))[0] == 404
