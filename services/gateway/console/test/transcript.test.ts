import assert from "node:assert/strict";
import { test } from "node:test";
import type { Message, Recording, ToolCall } from "../src/shapes.ts";
import { filesOf, lineAt, linesOf, placeIn } from "../src/transcript.ts";

const at = (second: number) => new Date(Date.parse("2025-01-15T10:00:00Z") + second * 1000).toISOString();
const said = (second: number): Message => ({ id: `m${second}`, role: "user", content: "Hello", created_at: at(second) });
const called = (second: number): ToolCall => ({
  id: `t${second}`, name: "book", arguments: null, status: "started", error: null, duration_ms: null, started_at: at(second),
});
const recording: Recording = {
  id: "r", urls: ["https://r.example/1.mp3"], duration_seconds: 20, available: true, started_at: at(5), ended_at: at(25),
};

test("tool calls stand between the lines that they were made between", () => {
  const lines = linesOf([said(1), said(10)], [called(30), called(4), called(10)]);
  assert.deepEqual(lines.map((line) => (line.kind === "tool" ? line.tool.id : line.message.id)), ["m1", "t4", "m10", "t10", "t30"]);
});

test("a transcript keeps its order where its times say otherwise", () => {
  assert.deepEqual(linesOf([said(9), said(3)], []).map((line) => line.kind === "message" && line.message.id), ["m9", "m3"]);
});

test("a line has a place in the recording that was running then", () => {
  assert.deepEqual([4, 5, 15.5, 25, 26].map((second) => placeIn(recording, Date.parse(at(second)))), [null, 0, 10.5, 20, null]);
  assert.equal(placeIn({ ...recording, started_at: null }, Date.parse(at(10))), null);
  assert.equal(placeIn(null, 0), null);
});

test("the line that is heard is the last one said", () => {
  const lines = linesOf([said(1), said(6), said(12)], [called(8)]);
  assert.deepEqual([0, 1, 6.9, 7, 100].map((second) => lineAt(lines, recording, second)), [-1, 1, 1, 3, 3]);
});

test("only files of the web load in the console", () => {
  const urls = ["https://r.example/1.mp3?X=1", "http://127.0.0.1:9/1.wav", "gs://bucket/1.wav", "javascript:alert(1)//.mp3", "no url"];
  assert.deepEqual(
    filesOf({ ...recording, urls }).map(({ format, loads }) => [format, loads]),
    [["mp3", true], ["wav", true], ["wav", false], ["mp3", false], ["audio", false]],
  );
});
