#!/usr/bin/env bash
# aiohttp 3.14.5 and header bytes that are not UTF-8, where a program passes on a header that aiohttp's client read.
# The client decodes them with "surrogateescape", so nothing is lost. The writer loses them: its C version leaves the
# bytes out without a word, its Python version (AIOHTTP_NO_EXTENSIONS, or a platform without a wheel) raises
# UnicodeEncodeError. A proxy behaves in one of two ways by what its wheel holds, and in neither as the header says.
# Seen 2026-11-27, Python 3.11. Ends with 0 while that is so, else with 1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet aiohttp==3.14.5
"$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import sys

import aiohttp
from aiohttp import http_writer
from multidict import CIMultiDict


async def read() -> str:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Name: caf\xe9\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with server, aiohttp.ClientSession() as session, session.get(url) as response:
        return response.headers["X-Name"]


name = asyncio.run(read())
print("read:", ascii(name))
headers = CIMultiDict({"X-Name": name})
by_c = http_writer._c_serialize_headers("HTTP/1.1 200 OK", headers)
print("C:", by_c)
try:
    by_python = repr(http_writer._py_serialize_headers("HTTP/1.1 200 OK", headers))
except UnicodeEncodeError as error:
    by_python = type(error).__name__
print("Python:", by_python)
same = name == "caf\udce9" and b"X-Name: caf\r\n" in by_c and by_python == "UnicodeEncodeError"
sys.exit(not same)
PYTHON
