/** Chooses the days that a view is about; they are in its address. */

import { useEffect, useState } from "preact/hooks";
import { dayOf } from "./days.ts";
import { PRESETS, presetRange, type Range, refusal, withRange } from "./ranges.ts";
import { navigate } from "./router.tsx";

interface Props {
  readonly path: string;
  readonly query: URLSearchParams;
  readonly range: Range;
}

/** Presets as radio buttons; «Custom» opens two days beside them. */
export function RangePicker({ path, query, range }: Props) {
  const [custom, setCustom] = useState(range.preset === null);
  const address = query.toString();
  useEffect(() => setCustom(range.preset === null), [address]);
  const choose = (next: Range) => navigate(path, withRange(query, next));
  return (
    <div class="range">
      <fieldset class="segments">
        <legend class="sr">Range of days, UTC</legend>
        {PRESETS.map(({ key, label }) => (
          <label key={key}>
            <input
              type="radio" name="range" value={key} checked={!custom && range.preset === key}
              onChange={() => choose(presetRange(key, Date.now()))}
            />
            <span>{label}</span>
          </label>
        ))}
        <label>
          <input type="radio" name="range" value="custom" checked={custom} onChange={() => setCustom(true)} />
          <span>Custom</span>
        </label>
      </fieldset>
      {custom && <CustomRange range={range} onRange={choose} />}
    </div>
  );
}

function CustomRange({ range, onRange }: { readonly range: Range; readonly onRange: (range: Range) => void }) {
  const [start, setStart] = useState(range.start);
  const [end, setEnd] = useState(range.end);
  const [problem, setProblem] = useState<string | null>(null);
  const today = dayOf(Date.now());
  const submit = (event: Event) => {
    event.preventDefault();
    const why = refusal(start, end);
    setProblem(why);
    if (why === null) onRange({ start, end, preset: null });
  };
  return (
    <form class="custom-range" onSubmit={submit} noValidate>
      <label><span class="sr">First day</span><input type="date" value={start} max={today} onInput={(event) => setStart(event.currentTarget.value)} /></label>
      <span class="muted" aria-hidden="true">–</span>
      <label><span class="sr">Last day</span><input type="date" value={end} max={today} onInput={(event) => setEnd(event.currentTarget.value)} /></label>
      <button class="button" type="submit">Apply</button>
      <p class="problem" role="alert">{problem}</p>
    </form>
  );
}
