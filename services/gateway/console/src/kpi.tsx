/** One figure of the overview, with the period before beside it. */

import { change, type Change, type Figure, NEW, shown, spoken } from "./figures.ts";
import { Bone } from "./notices.tsx";
import type { Metrics } from "./shapes.ts";

interface Props {
  readonly figure: Figure;
  readonly now: Metrics;
  readonly before: Metrics | null;
  /** What the time before is called. */
  readonly period: string;
  readonly failed: boolean;
}

/** Shows a figure, the one before it, and how it moved; ears get a sentence instead of arrows. */
export function FigureCard({ figure, now, before, period, failed }: Props) {
  const value = figure.value(now);
  const past = before === null ? null : figure.value(before);
  const moved = before === null ? null : change(figure, value, past);
  return (
    <li class="card kpi">
      <h3 class="kpi-label" title={figure.hint}>{figure.label}</h3>
      <p class="kpi-value">
        <span aria-hidden="true">{shown(figure, value)}</span><span class="sr">{spoken(figure, value)}</span>
        {moved !== null && moved.direction !== "same" && <Delta change={moved} />}
      </p>
      {before === null
        ? <p class="kpi-before">{failed ? "No comparison for now" : <Bone width="70%" />}</p>
        : (
          <p class="kpi-before">
            <span aria-hidden="true">{period}: {shown(figure, past)}</span>
            <span class="sr">{sentenceOf(moved)}{period}: {spoken(figure, past)}.</span>
          </p>
        )}
    </li>
  );
}

/** Keeps a figure's place. */
export function FigureSkeleton({ figure }: { readonly figure: Figure }) {
  return (
    <li class="card kpi">
      <h3 class="kpi-label">{figure.label}</h3>
      <p class="kpi-value"><Bone width="60%" /></p>
      <p class="kpi-before"><Bone width="70%" /></p>
    </li>
  );
}

function Delta({ change: { direction, tone, amount } }: { readonly change: Change }) {
  return <span class={`delta is-${tone}`} aria-hidden="true">{amount === NEW ? NEW : `${direction === "up" ? "↑" : "↓"} ${amount}`}</span>;
}

function sentenceOf(moved: Change | null): string {
  if (moved === null) return "";
  if (moved.direction === "same") return "No change. ";
  if (moved.amount === NEW) return "There was none before. ";
  const judged = moved.tone === "good" ? ", better" : moved.tone === "bad" ? ", worse" : "";
  return `${moved.direction === "up" ? "Up" : "Down"} ${moved.amount.replace("pts", "percentage points").replace("×", " times")}${judged}. `;
}
