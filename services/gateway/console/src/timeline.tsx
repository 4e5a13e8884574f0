/** Calls as bars and their average duration as a line; the same as a table for those who want the figures. */

import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { chartOptions, readoutOf } from "./chart.ts";
import * as format from "./format.ts";
import type { Bucket } from "./shapes.ts";
import { currentTheme, onTheme } from "./theme.ts";

interface Props {
  readonly buckets: readonly Bucket[];
  readonly bucket: "day" | "hour";
}

/** Draws the chart; arrow keys move along it when it has the focus. */
export function Timeline({ buckets, bucket }: Props) {
  const [asTable, setAsTable] = useState(false);
  return (
    <div class="timeline">
      {asTable ? <FiguresTable buckets={buckets} bucket={bucket} /> : <Chart buckets={buckets} bucket={bucket} />}
      <button class="link small timeline-switch" type="button" onClick={() => setAsTable(!asTable)}>
        {asTable ? "Show as a chart" : "Show as a table"}
      </button>
    </div>
  );
}

function Chart({ buckets, bucket }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const tip = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const [theme, setTheme] = useState(currentTheme);
  const [read, setRead] = useState("");
  useEffect(() => onTheme(() => setTheme(currentTheme())), []);

  useEffect(() => {
    const [element, label] = [box.current, tip.current];
    if (element === null || label === null) return;
    const options = chartOptions(buckets, bucket, element, label);
    const data: uPlot.AlignedData = [
      buckets.map((_, index) => index),
      buckets.map(({ call_count }) => call_count),
      buckets.map(({ avg_duration_seconds }) => avg_duration_seconds),
    ];
    const drawn = new uPlot(options, data, element);
    plot.current = drawn;
    const observer = new ResizeObserver(() => drawn.setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      drawn.destroy();
      plot.current = null;
    };
  }, [buckets, bucket, theme]);

  const move = (event: KeyboardEvent) => {
    const steps: Record<string, (at: number) => number> = {
      ArrowRight: (at) => at + 1, ArrowLeft: (at) => at - 1, Home: () => 0, End: () => buckets.length - 1,
    };
    const step = steps[event.key];
    const drawn = plot.current;
    if (step === undefined || drawn === null) return;
    event.preventDefault();
    const at = Math.min(buckets.length - 1, Math.max(0, step(drawn.cursor.idx ?? (event.key === "ArrowLeft" ? buckets.length : -1))));
    drawn.setCursor({ left: drawn.valToPos(at, "x"), top: 8 });
    setRead(readoutOf(buckets[at] as Bucket, bucket).join(", "));
  };

  return (
    <>
      <div
        ref={box} class="chart" role="img" tabIndex={0} aria-label={summaryOf(buckets, bucket)} onKeyDown={move}
        onBlur={() => plot.current?.setCursor({ left: -10, top: -10 })}
      />
      <div ref={tip} class="tip" aria-hidden="true" hidden />
      <p class="sr" role="status">{read}</p>
    </>
  );
}

function FiguresTable({ buckets, bucket }: Props) {
  return (
    <div class="table-scroll" tabIndex={0} role="region" aria-label={`Calls by ${bucket} as a table`}>
      <table class="figures-table">
        <thead><tr><th scope="col">{bucket === "day" ? "Day" : "Hour"}, UTC</th><th scope="col">Calls</th><th scope="col">Average duration</th></tr></thead>
        <tbody>
          {buckets.map((one) => (
            <tr key={one.bucket}><th scope="row">{readoutOf(one, bucket)[0]}</th><td>{format.count(one.call_count)}</td><td>{format.duration(one.avg_duration_seconds)}</td></tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function summaryOf(buckets: readonly Bucket[], bucket: "day" | "hour"): string {
  const most = buckets.reduce((best, one) => (one.call_count > best.call_count ? one : best), buckets[0] as Bucket);
  const total = buckets.reduce((sum, one) => sum + one.call_count, 0);
  const [when] = readoutOf(most, bucket);
  return `Chart of ${format.calls(total)} in ${buckets.length} ${bucket}s. Most: ${format.calls(most.call_count)}, ${when}. Arrow keys read each ${bucket}.`;
}
