/** Ranges of whole UTC days, as the query of the console's address holds them. */

import { dayOf, daysBetween, shifted, startOf } from "./days.ts";

export const PRESETS = [
  { key: "today", label: "Today", days: 1 },
  { key: "7d", label: "7 days", days: 7 },
  { key: "30d", label: "30 days", days: 30 },
  { key: "90d", label: "90 days", days: 90 },
] as const;

export type PresetKey = (typeof PRESETS)[number]["key"];

/** Days from `start` to `end`, both included; `preset` is `null` where somebody chose them. */
export interface Range {
  readonly start: string;
  readonly end: string;
  readonly preset: PresetKey | null;
}

export const DEFAULT_PRESET: PresetKey = "7d";
/** Longest range: its hours, 17,544 at most, are one answer of well under a megabyte. */
export const LONGEST_DAYS = 731;
const HOURLY_DAYS = 3;

/** Give a preset's range: its days up to and with the UTC day of `now` (milliseconds). */
export function presetRange(key: PresetKey, now: number): Range {
  const days = PRESETS.find((preset) => preset.key === key)?.days ?? 1;
  const end = dayOf(now);
  return { start: shifted(end, 1 - days), end, preset: key };
}

/** Say in one sentence why two days are no range, or give `null` where they are one. */
export function refusal(start: string, end: string): string | null {
  if (startOf(start) === null || startOf(end) === null) return "Choose a first and a last day.";
  if (start > end) return "The first day is after the last one.";
  return daysBetween(start, end) > LONGEST_DAYS ? "Choose two years at most." : null;
}

/** Read the range of a query; what is missing or wrong gives the default range. */
export function rangeOf(query: URLSearchParams, now: number): Range {
  const [start, end, key] = [query.get("start"), query.get("end"), query.get("range")];
  if (start !== null && end !== null && refusal(start, end) === null) return { start, end, preset: null };
  const preset = PRESETS.find((one) => one.key === key);
  return presetRange(preset?.key ?? DEFAULT_PRESET, now);
}

/** Write a range into a copy of a query; the page of a list does not outlive it. */
export function withRange(query: URLSearchParams, range: Range): URLSearchParams {
  const changed = new URLSearchParams(query);
  for (const name of ["range", "start", "end", "cursor"]) changed.delete(name);
  if (range.preset !== null) changed.set("range", range.preset);
  else {
    changed.set("start", range.start);
    changed.set("end", range.end);
  }
  return changed;
}

/** Give the range of the same length that ends on the day before. */
export function previous(range: Range): Range {
  const days = daysBetween(range.start, range.end);
  return { start: shifted(range.start, -days), end: shifted(range.start, -1), preset: null };
}

/** Give the width of the timeline's buckets. */
export function bucketOf(range: Range): "hour" | "day" {
  return daysBetween(range.start, range.end) <= HOURLY_DAYS ? "hour" : "day";
}

/** Tell whether calls can still be added to a range. */
export function isOpen(range: Range, now: number): boolean {
  return range.end >= dayOf(now);
}

/** Name the time before a range: `Previous 7 days`, `The day before`. */
export function nameOfPrevious(range: Range): string {
  const days = daysBetween(range.start, range.end);
  if (days > 1) return `Previous ${days} days`;
  return range.preset === "today" ? "Yesterday" : "The day before";
}

/** Give the parameters that the API takes for a range. */
export function rangeQuery(range: Range): string {
  return `start_date=${range.start}&end_date=${range.end}`;
}
