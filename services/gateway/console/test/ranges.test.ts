import assert from "node:assert/strict";
import { test } from "node:test";
import { bucketOf, isOpen, nameOfPrevious, presetRange, previous, rangeOf, refusal, withRange } from "../src/ranges.ts";

const NOW = Date.parse("2025-03-01T12:00:00Z");
const read = (query: string) => rangeOf(new URLSearchParams(query), NOW);

test("a preset ends on today's UTC day and has its days", () => {
  assert.deepEqual(presetRange("today", NOW), { start: "2025-03-01", end: "2025-03-01", preset: "today" });
  assert.deepEqual(presetRange("7d", NOW), { start: "2025-02-23", end: "2025-03-01", preset: "7d" });
  assert.equal(presetRange("90d", Date.parse("2024-03-01T23:59:59Z")).start, "2023-12-03");
});

test("a query without a range, or with a wrong one, gives the last 7 days", () => {
  for (const query of ["", "range=8d", "start=2025-01-02&end=2025-01-01", "start=2025-02-30&end=2025-03-01", "start=2025-01-01"]) {
    assert.deepEqual(read(query), presetRange("7d", NOW), query);
  }
});

test("a range written into a query is read back, and ends the page of a list", () => {
  const chosen = { start: "2025-01-01", end: "2025-01-31", preset: null };
  const written = withRange(new URLSearchParams("range=7d&status=failed&cursor=x"), chosen);
  assert.equal(written.toString(), "status=failed&start=2025-01-01&end=2025-01-31");
  assert.deepEqual(rangeOf(written, NOW), chosen);
  assert.deepEqual(read(withRange(written, presetRange("30d", NOW)).toString()), presetRange("30d", NOW));
});

test("the period before has the same days and ends the day before", () => {
  assert.deepEqual(previous(read("range=7d")), { start: "2025-02-16", end: "2025-02-22", preset: null });
  assert.deepEqual(previous(read("range=today")), { start: "2025-02-28", end: "2025-02-28", preset: null });
  assert.equal(nameOfPrevious(read("range=30d")), "Previous 30 days");
  assert.equal(nameOfPrevious(read("range=today")), "Yesterday");
  assert.equal(nameOfPrevious(read("start=2025-01-05&end=2025-01-05")), "The day before");
});

test("short ranges have hours, others days", () => {
  assert.equal(bucketOf(read("range=today")), "hour");
  assert.equal(bucketOf(read("start=2025-01-01&end=2025-01-03")), "hour");
  assert.equal(bucketOf(read("start=2025-01-01&end=2025-01-04")), "day");
});

test("a range is open while calls can still be added to it", () => {
  assert.ok(isOpen(read("range=7d"), NOW));
  assert.ok(!isOpen(read("start=2025-01-01&end=2025-02-28"), NOW));
});

test("what is no range is refused with a sentence", () => {
  assert.equal(refusal("2025-01-01", "2026-12-31"), null);
  assert.match(refusal("2025-01-01", "2027-01-02") ?? "", /two years/);
  assert.match(refusal("", "2025-01-01") ?? "", /first and a last/);
  assert.match(refusal("2025-01-02", "2025-01-01") ?? "", /after/);
  assert.notEqual(refusal("1969-12-31", "1970-01-01"), null);
});
