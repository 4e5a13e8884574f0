/** What the console makes of the API's answers: comparisons and the week's heat map. */

import type { Bucket, Metrics, Sentiment } from "./shapes.ts";
import * as format from "./format.ts";

/** How a figure moved against the period before; `tone` says whether that is good. */
export interface Change {
  readonly direction: "up" | "down" | "same";
  readonly tone: "good" | "bad" | "plain";
  /** `12%`, `1.5 pts`, `12×`, or `NEW`. */
  readonly amount: string;
}

/** One figure of the overview. `better` is the direction that is good. */
export interface Figure {
  readonly key: string;
  readonly label: string;
  readonly hint: string;
  readonly better: "up" | "down" | null;
  readonly value: (metrics: Metrics) => number | null;
  readonly kind: "count" | "seconds" | "share";
}

export const FIGURES: readonly Figure[] = [
  { key: "total", label: "Calls", hint: "Calls that started in the range", better: null, kind: "count", value: (m) => m.total_calls },
  { key: "completed", label: "Completed", hint: "Calls that were answered and have ended", better: "up", kind: "count", value: (m) => m.completed_calls },
  { key: "incomplete", label: "Incomplete", hint: "Calls that are under way, or were never answered", better: "down", kind: "count", value: (m) => m.incomplete_calls },
  { key: "duration", label: "Average duration", hint: "Mean talk time of completed calls", better: null, kind: "seconds", value: (m) => m.avg_duration_seconds },
  { key: "recorded", label: "Recordings available", hint: "Share of completed calls with a recording", better: "up", kind: "share", value: (m) => m.recording_availability_rate },
  { key: "tools", label: "Tool success", hint: "Share of tool calls with a known outcome that succeeded", better: "up", kind: "share", value: (m) => m.tool_call_success_rate },
];

/** Write a figure's value. */
export function shown(figure: Figure, value: number | null): string {
  if (value === null) return format.NOTHING;
  if (figure.kind === "count") return format.count(value);
  return figure.kind === "share" ? format.percent(value) : format.duration(value);
}

/** Write a figure's value for ears. */
export function spoken(figure: Figure, value: number | null): string {
  if (value === null) return "not known";
  return figure.kind === "seconds" ? format.spokenDuration(value) : shown(figure, value);
}

/** The amount of a change where nothing was before. */
export const NEW = "new";

/** Compare a figure with the one before; `null` where one of them is not known. */
export function change(figure: Figure, now: number | null, before: number | null): Change | null {
  if (now === null || before === null) return null;
  const amount = amountOf(figure, now, before);
  if (amount === null) return { direction: "same", tone: "plain", amount: "no change" };
  const direction = now > before ? "up" : "down";
  const tone = figure.better === null || before === 0 ? "plain" : figure.better === direction ? "good" : "bad";
  return { direction, tone, amount };
}

function amountOf(figure: Figure, now: number, before: number): string | null {
  if (figure.kind === "share") {
    const points = Math.abs(now - before) * 100;
    return points < 0.05 ? null : `${short(points)} pts`;
  }
  if (now === before) return null;
  if (before === 0) return NEW;
  const share = Math.abs(now - before) / before;
  if (share < 0.0005) return null;
  if (now >= 2 * before) return `${short(now / before)}×`;
  return `${short(now === 0 ? 100 : Math.min(99, share * 100))}%`; // only what is gone altogether fell by 100%
}

/** Write a positive figure so that it fits beside another one: with tenths where it is below ten. */
function short(value: number): string {
  return format.count(value < 9.95 ? Math.round(value * 10) / 10 : Math.round(value));
}

/** Sums of a week: `grid[weekday][hour]`, Monday first, UTC. */
export interface Week {
  readonly grid: readonly (readonly number[])[];
  readonly most: number;
  readonly total: number;
}

/** Add up buckets of an hour by weekday and hour. */
export function weekOf(buckets: readonly Bucket[]): Week {
  const grid = Array.from({ length: 7 }, () => new Array<number>(24).fill(0));
  let total = 0;
  for (const bucket of buckets) {
    const start = new Date(bucket.bucket);
    const row = grid[(start.getUTCDay() + 6) % 7] as number[];
    row[start.getUTCHours()] = (row[start.getUTCHours()] ?? 0) + bucket.call_count;
    total += bucket.call_count;
  }
  return { grid, most: Math.max(...grid.flat()), total };
}

/** Steps of the heat map's colour above none. */
export const HEAT_STEPS = 5;

/** Give a cell's step: 0 for none, then 1 to `HEAT_STEPS` by its share of the most. */
export function heatOf(value: number, most: number): number {
  return value === 0 ? 0 : Math.max(1, Math.ceil((value / most) * HEAT_STEPS));
}

export const SENTIMENTS: readonly Sentiment[] = ["positive", "neutral", "negative"];

/** Give each sentiment's calls and share of those that have one (`null` where none has). */
export function sentimentShares(metrics: Metrics): { sentiment: Sentiment; calls: number; share: number | null }[] {
  const known = SENTIMENTS.map((sentiment) => metrics.sentiment_distribution[sentiment]);
  const total = known.reduce((sum, value) => sum + value, 0);
  return SENTIMENTS.map((sentiment, place) => {
    const calls = known[place] ?? 0;
    return { sentiment, calls, share: total === 0 ? null : calls / total };
  });
}
