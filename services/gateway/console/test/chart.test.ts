import assert from "node:assert/strict";
import { test } from "node:test";
import { axisLabel, dotted, labelled } from "../src/chart.ts";
import type { Bucket } from "../src/shapes.ts";

const HOUR = 3_600_000;
const made = (count: number, width: number, averages: Record<number, number> = {}): Bucket[] =>
  Array.from({ length: count }, (_, at) => ({
    bucket: new Date(Date.parse("2025-01-06T00:00:00Z") + at * width).toISOString(),
    call_count: 1,
    avg_duration_seconds: averages[at] ?? null,
  }));
const labels = (buckets: Bucket[], width: "day" | "hour", pixels: number) =>
  labelled(buckets, width, pixels).map((at) => axisLabel(buckets, at, width));

test("days are labelled back from the last one, as many as fit", () => {
  assert.deepEqual(labels(made(5, 24 * HOUR), "day", 600), ["6 Jan", "7 Jan", "8 Jan", "9 Jan", "10 Jan"]);
  assert.deepEqual(labels(made(30, 24 * HOUR), "day", 300), ["11 Jan", "17 Jan", "23 Jan", "29 Jan", "4 Feb"].slice(0, 5));
});

test("hours are labelled at round times, and a day's first one names the day where there are several", () => {
  assert.deepEqual(labels(made(24, HOUR), "hour", 300), ["00:00", "06:00", "12:00", "18:00"]);
  assert.deepEqual(labels(made(48, HOUR), "hour", 250), ["6 Jan", "12:00", "7 Jan", "12:00"]);
  assert.deepEqual(labels(made(72, HOUR), "hour", 100), ["6 Jan", "7 Jan", "8 Jan"]);
});

test("an average that no line goes through has a dot, however many there are", () => {
  assert.deepEqual(dotted(made(60, HOUR, { 0: 5, 7: 5, 8: 5, 20: 5 })), [0, 20]);
  assert.deepEqual(dotted(made(10, HOUR, { 0: 5, 7: 5, 8: 5 })), [0, 7, 8]);
});
