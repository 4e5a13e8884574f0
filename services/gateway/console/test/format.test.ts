import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../src/format.ts";

test("durations are short for eyes and whole for ears", () => {
  assert.deepEqual([0, 41.6, 245.5, 3725].map(format.duration), ["0s", "42s", "4m 06s", "1h 02m"]);
  assert.equal(format.duration(null), format.NOTHING);
  assert.equal(format.spokenDuration(3661), "1 hour 1 minute 1 second");
  assert.equal(format.spokenDuration(0), "0 seconds");
});

test("only a whole share reads 100 % and only none 0 %", () => {
  assert.deepEqual([1, 0.9999, 0.9524, 0.5, 0.0001, 0].map(format.percent), ["100%", "99.9%", "95.2%", "50%", "0.1%", "0%"]);
});

test("a place in a recording reads as on a player", () => {
  assert.deepEqual([0, 42.9, 125, 3729, -3.5, -0.2].map(format.position), ["0:00", "0:42", "2:05", "1:02:09", "−0:03", "0:00"]);
});

test("days and times are UTC and as short as they stay clear", () => {
  assert.equal(format.days("2025-01-31", "2025-01-31"), "31 Jan 2025");
  assert.match(format.days("2025-01-25", "2025-01-31"), /^25\s?–\s?31 Jan 2025$/);
  assert.match(format.days("2024-12-25", "2025-01-03"), /^25 Dec 2024 – 3 Jan 2025$/);
  assert.equal(format.clock(Date.parse("2025-01-31T23:05:09Z")), "23:05:09");
  assert.equal(format.longDay(Date.parse("2025-01-31T23:05:09Z")), "Friday 31 January 2025");
});

test("names of the provider become words", () => {
  assert.equal(format.words("normal_clearing"), "Normal clearing");
  assert.deepEqual([1, 1234].map(format.calls), ["1 call", "1,234 calls"]);
});
