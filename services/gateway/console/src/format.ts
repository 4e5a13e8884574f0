/** Figures and times as people read them: English, UTC. */

import { startOf } from "./days.ts";

const COUNT = new Intl.NumberFormat("en-US");
const SHORT_COUNT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });
const DAY = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
const DAY_AND_YEAR = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });
const LONG_DAY = new Intl.DateTimeFormat("en-GB", {
  timeZone: "UTC", weekday: "long", day: "numeric", month: "long", year: "numeric",
});
const CLOCK = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const LOCAL = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

/** Stands where a figure is not known. */
export const NOTHING = "–";

/** `12,345`. */
export function count(value: number): string {
  return COUNT.format(value);
}

/** `12.3K`, for axes. */
export function shortCount(value: number): string {
  return SHORT_COUNT.format(value);
}

/** `95.2%` of a share from 0 to 1; only a whole share reads 100%, and only none 0%. */
export function percent(share: number | null): string {
  if (share === null) return NOTHING;
  const tenths = Math.round(share * 1000);
  const shown = tenths === 1000 && share < 1 ? 999 : tenths === 0 && share > 0 ? 1 : tenths;
  return `${shown % 10 === 0 ? shown / 10 : (shown / 10).toFixed(1)}%`;
}

/** `1h 02m`, `4m 06s`, `42s` of seconds. */
export function duration(seconds: number | null): string {
  if (seconds === null) return NOTHING;
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h}h ${String(m).padStart(2, "0")}m`;
  return m > 0 ? `${m}m ${String(s).padStart(2, "0")}s` : `${s}s`;
}

/** `4 minutes 6 seconds`: a duration for ears. */
export function spokenDuration(seconds: number | null): string {
  if (seconds === null) return "not known";
  const whole = Math.round(seconds);
  const parts = ([["hour", Math.floor(whole / 3600)], ["minute", Math.floor(whole / 60) % 60], ["second", whole % 60]] as const)
    .filter(([, value]) => value > 0)
    .map(([unit, value]) => `${value} ${unit}${value === 1 ? "" : "s"}`);
  return parts.length === 0 ? "0 seconds" : parts.join(" ");
}

/** `1:02:09`, `0:42` of seconds: a place in a recording or a call; what is before its start has a minus. */
export function position(seconds: number): string {
  const whole = Math.floor(Math.abs(seconds));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, String(whole % 60).padStart(2, "0")];
  const text = h > 0 ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
  return seconds < 0 && whole > 0 ? `−${text}` : text;
}

/** `31 Jan` of a moment. */
export function day(ms: number): string {
  return DAY.format(ms);
}

/** `Friday 31 January 2025` of a moment. */
export function longDay(ms: number): string {
  return LONG_DAY.format(ms).replace(",", "");
}

/** `14:05:09` of a moment. */
export function clock(ms: number): string {
  return CLOCK.format(ms);
}

/** `31 Jan 2025` of a moment. */
export function date(ms: number): string {
  return DAY_AND_YEAR.format(ms);
}

/** The same moment in the reader's own zone, for titles. */
export function localTime(ms: number): string {
  return `${LOCAL.format(ms)} where you are`;
}

/** `25–31 Jan 2025`: days as short as they stay clear. */
export function days(first: string, last: string): string {
  const [start, end] = [startOf(first), startOf(last)];
  if (start === null || end === null) return NOTHING;
  return start === end ? date(start) : DAY_AND_YEAR.formatRange(start, end).replace(/\s–\s/, " – ");
}

/** `Normal clearing` of `normal_clearing`: words of the provider's. */
export function words(name: string): string {
  const text = name.replaceAll("_", " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** `1 call`, `2 calls`. */
export function calls(value: number): string {
  return `${count(value)} ${value === 1 ? "call" : "calls"}`;
}
