import assert from "node:assert/strict";
import { test } from "node:test";
import { change, FIGURES, type Figure, heatOf, sentimentShares, weekOf } from "../src/figures.ts";
import type { Bucket, Metrics } from "../src/shapes.ts";

const figure = (key: string): Figure => FIGURES.find((one) => one.key === key) as Figure;
const bucket = (start: string, calls: number): Bucket => ({ bucket: start, call_count: calls, avg_duration_seconds: null });

test("a count moves by a share of what it was, and its tone is the figure's", () => {
  assert.deepEqual(change(figure("completed"), 112, 100), { direction: "up", tone: "good", amount: "12%" });
  assert.deepEqual(change(figure("incomplete"), 112, 100), { direction: "up", tone: "bad", amount: "12%" });
  assert.deepEqual(change(figure("total"), 1, 3), { direction: "down", tone: "plain", amount: "67%" });
  const amounts = [[1024, 1000], [1095, 1000], [1999, 1000], [2, 1], [7, 2], [120, 3], [1, 1000], [0, 1000]] as const;
  assert.deepEqual(
    amounts.map(([now, before]) => change(figure("total"), now, before)?.amount),
    ["2.4%", "9.5%", "99%", "2×", "3.5×", "40×", "99%", "100%"],
  );
});

test("a share moves by points", () => {
  assert.equal(change(figure("tools"), 1, 0.444)?.amount, "56 pts");
  assert.deepEqual(change(figure("tools"), 0.9, 0.925), { direction: "down", tone: "bad", amount: "2.5 pts" });
  assert.equal(change(figure("recorded"), 0.90001, 0.9)?.direction, "same");
});

test("where nothing was before, a figure is new; where one is not known, nothing is compared", () => {
  assert.deepEqual(change(figure("incomplete"), 5, 0), { direction: "up", tone: "plain", amount: "new" });
  assert.equal(change(figure("total"), 0, 0)?.direction, "same");
  assert.equal(change(figure("duration"), null, 12), null);
  assert.equal(change(figure("duration"), 12, null), null);
});

test("hours are added up by weekday and hour, Monday first, UTC", () => {
  const week = weekOf([
    bucket("2025-01-06T09:00:00Z", 2), // a Monday
    bucket("2025-01-13T09:00:00Z", 3),
    bucket("2025-01-12T23:00:00Z", 1), // a Sunday
  ]);
  assert.equal(week.grid[0]?.[9], 5);
  assert.equal(week.grid[6]?.[23], 1);
  assert.deepEqual([week.most, week.total], [5, 6]);
});

test("any call is seen on the heat map, and the most is its last step", () => {
  assert.deepEqual([0, 1, 50, 81, 100].map((value) => heatOf(value, 100)), [0, 1, 3, 5, 5]);
});

test("shares of sentiment are of the calls that have one", () => {
  const metrics = { sentiment_distribution: { positive: 3, neutral: 1, negative: 0 } } as Metrics;
  assert.deepEqual(sentimentShares(metrics).map(({ share }) => share), [0.75, 0.25, 0]);
  const none = { sentiment_distribution: { positive: 0, neutral: 0, negative: 0 } } as Metrics;
  assert.deepEqual(sentimentShares(none).map(({ share }) => share), [null, null, null]);
});
