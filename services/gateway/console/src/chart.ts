/** How the timeline is drawn. Buckets stand at 0, 1, 2 …, so that no time zone moves them. */

import uPlot from "uplot";
import * as format from "./format.ts";
import type { Bucket } from "./shapes.ts";

const SECONDS = [1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 36_000, 86_400];
const COUNTS = [1, 2, 5].flatMap((step) => [1, 10, 100, 1e3, 1e4, 1e5, 1e6].map((power) => step * power)).sort((one, other) => one - other);
const LABEL_PX = 58;
const HOUR_STEPS = [1, 2, 3, 4, 6, 8, 12, 24];
const FEW = 45;
const CHARACTER_PX = 6.6; // of the axes' font
const APART_PX = 26; // the tip stands beside its bar
const GREATER = 1.08; // room above the highest bar

/** Give what a bucket says: when, how many, how long. */
export function readoutOf(bucket: Bucket, width: "day" | "hour"): [string, string, string] {
  const start = Date.parse(bucket.bucket);
  const when = width === "day" ? format.longDay(start) : `${format.day(start)}, ${format.clock(start).slice(0, 5)}–${format.clock(start + 3_600_000).slice(0, 5)}`;
  const average = bucket.avg_duration_seconds === null ? "no completed calls" : `${format.duration(bucket.avg_duration_seconds)} on average`;
  return [when, format.calls(bucket.call_count), average];
}

/** Give uPlot's options for `box`, whose pointer shows `tip`. */
export function chartOptions(buckets: readonly Bucket[], width: "day" | "hour", box: HTMLElement, tip: HTMLElement): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  const font = `500 11px ${style.getPropertyValue("--font").trim()}`;
  const most = Math.max(1, ...buckets.map(({ call_count }) => call_count));
  const longest = Math.max(1, ...buckets.map(({ avg_duration_seconds }) => avg_duration_seconds ?? 0));
  const dots = dotted(buckets);
  const axis = { stroke: colour("--muted"), font, ticks: { show: false }, gap: 6 };
  return {
    width: box.clientWidth,
    height: box.clientHeight,
    padding: [8, 0, 0, 0],
    legend: { show: false },
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    scales: {
      x: { time: false, range: [-0.5, buckets.length - 0.5] },
      calls: { range: [0, most * GREATER] },
      seconds: { range: [0, longest * 1.25] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 28, splits: (plot) => labelled(buckets, width, plot.bbox.width / devicePixelRatio), values: (_, splits) => splits.map((at) => axisLabel(buckets, at, width)) },
      { ...axis, scale: "calls", size: fitting, incrs: COUNTS, space: 44, grid: { stroke: colour("--grid"), width: 1 }, values: (_, splits) => splits.map(format.shortCount) },
      { ...axis, scale: "seconds", side: 1, size: fitting, incrs: SECONDS, space: 44, grid: { show: false }, values: (_, splits) => splits.map(shortDuration) },
    ],
    series: [
      {},
      { label: "Calls", scale: "calls", fill: colour("--bar"), width: 0, points: { show: false }, paths: bars() },
      {
        label: "Average duration", scale: "seconds", stroke: colour("--line"), width: 2, spanGaps: false,
        points: { show: true, filter: () => dots, size: 6, width: 2, fill: colour("--surface"), stroke: colour("--line") },
      },
    ],
    hooks: { setCursor: [(plot) => place(plot, buckets, width, box, tip)] },
  };
}

/** Give the width (px) of an axis whose labels these are. */
function fitting(_: uPlot, labels: readonly string[] | null): number {
  return Math.ceil(Math.max(1, ...(labels ?? []).map(({ length }) => length)) * CHARACTER_PX) + 10;
}

function bars(): uPlot.Series.PathBuilder {
  const make = uPlot.paths.bars;
  if (make === undefined) throw new Error("uPlot has no bars");
  return make({ size: [0.66, 44], radius: [0.18, 0] });
}

/** Give the places whose average has a dot: all of a few, else those that no line goes through. */
export function dotted(buckets: readonly Bucket[]): number[] {
  const known = (at: number) => buckets[at]?.avg_duration_seconds != null;
  return buckets.map((_, at) => at).filter((at) => known(at) && (buckets.length <= FEW || !(known(at - 1) || known(at + 1))));
}

/** Give the places that get a label, so that labels keep apart: every nth day back from the last, every nth hour of a day. */
export function labelled(buckets: readonly Bucket[], width: "day" | "hour", pixels: number): number[] {
  const count = buckets.length;
  const fits = Math.max(1, Math.floor(pixels / LABEL_PX));
  if (width === "hour") {
    const step = HOUR_STEPS.find((hours) => count / hours <= fits) ?? 24;
    return buckets.map((_, at) => at).filter((at) => hourOf(buckets[at]) % step === 0);
  }
  const step = Math.max(1, Math.ceil(count / fits));
  return Array.from({ length: Math.ceil(count / step) }, (_, place) => count - 1 - place * step).reverse();
}

/** Write a place's label; where hours are of several days, each day's first one names the day. */
export function axisLabel(buckets: readonly Bucket[], at: number, width: "day" | "hour"): string {
  const bucket = buckets[at];
  if (bucket === undefined) return "";
  const start = Date.parse(bucket.bucket);
  const namesDay = width === "day" || (buckets.length > 24 && hourOf(bucket) === 0);
  return namesDay ? format.day(start) : format.clock(start).slice(0, 5);
}

function hourOf(bucket: Bucket | undefined): number {
  return bucket === undefined ? 0 : new Date(bucket.bucket).getUTCHours();
}

function shortDuration(seconds: number): string {
  if (seconds === 0) return "0";
  if (seconds < 60) return `${seconds}s`;
  return seconds % 3600 === 0 ? `${seconds / 3600}h` : seconds % 60 === 0 ? `${seconds / 60}m` : format.duration(seconds);
}

function place(plot: uPlot, buckets: readonly Bucket[], width: "day" | "hour", box: HTMLElement, tip: HTMLElement): void {
  const { idx, left } = plot.cursor;
  const bucket = idx == null || left == null || left < 0 ? undefined : buckets[idx];
  tip.hidden = bucket === undefined;
  if (bucket === undefined || idx == null) return;
  const [when, ...figures] = readoutOf(bucket, width);
  const title = document.createElement("strong");
  title.textContent = when;
  tip.replaceChildren(title, ...figures.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
  const middle = plot.bbox.left / devicePixelRatio + plot.valToPos(idx, "x");
  const beside = middle + APART_PX + tip.offsetWidth;
  const at = beside <= box.clientWidth ? middle + APART_PX : Math.max(0, middle - APART_PX - tip.offsetWidth);
  tip.style.transform = `translate(${Math.round(at)}px, 0)`;
}
