/** Calls by weekday and hour: a table whose cells are coloured. */

import { useState } from "preact/hooks";
import { HEAT_STEPS, heatOf, type Week } from "./figures.ts";
import * as format from "./format.ts";
import { Nothing } from "./notices.tsx";

const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] as const;
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
const two = (hour: number) => String(hour).padStart(2, "0");

/** Shows a week; the line below tells of the cell under the pointer, else of the busiest hour. */
export function HeatMap({ week }: { readonly week: Week }) {
  const [at, setAt] = useState<{ row: number; hour: number } | null>(null);
  if (week.total === 0) return <Nothing title="No calls in this range" />;
  const busiest = busiestOf(week);
  const told = at ?? busiest;
  const calls = week.grid[told.row]?.[told.hour] ?? 0;
  return (
    <div class="heat" onPointerLeave={() => setAt(null)}>
      <table class="heat-table">
        <caption class="sr">Calls by weekday and hour, UTC. The busiest hour: {nameOf(busiest)}.</caption>
        <thead>
          <tr><td />{HOURS.map((hour) => <th key={hour} scope="col"><span class={hour % 3 === 0 ? "" : "sr"}>{two(hour)}</span></th>)}</tr>
        </thead>
        <tbody>
          {DAYS.map((day, row) => (
            <tr key={day}>
              <th scope="row"><abbr title={day}>{day.slice(0, 3)}</abbr></th>
              {HOURS.map((hour) => {
                const value = week.grid[row]?.[hour] ?? 0;
                return <td key={hour} class={`heat-${heatOf(value, week.most)}`} onPointerEnter={() => setAt({ row, hour })}><span class="sr">{value}</span></td>;
              })}
            </tr>
          ))}
        </tbody>
      </table>
      <div class="heat-foot small">
        <p class="muted"><strong>{at === null ? "Busiest" : format.calls(calls)}</strong> {nameOf(told)}{at === null && ` · ${format.calls(calls)}`}</p>
        <p class="heat-scale muted" aria-hidden="true">
          0{Array.from({ length: HEAT_STEPS + 1 }, (_, step) => <span key={step} class={`heat-${step}`} />)}{format.count(week.most)}
        </p>
      </div>
    </div>
  );
}

function busiestOf(week: Week): { row: number; hour: number } {
  for (const [row, hours] of week.grid.entries()) {
    const hour = hours.indexOf(week.most);
    if (hour >= 0) return { row, hour };
  }
  return { row: 0, hour: 0 };
}

function nameOf({ row, hour }: { row: number; hour: number }): string {
  return `${DAYS[row]} ${two(hour)}:00–${two((hour + 1) % 24)}:00`;
}
