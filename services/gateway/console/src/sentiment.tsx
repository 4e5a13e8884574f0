/** How callers felt: shares of the calls whose sentiment is known. */

import { sentimentShares } from "./figures.ts";
import * as format from "./format.ts";
import { Nothing } from "./notices.tsx";
import type { Metrics } from "./shapes.ts";

/** One bar of three parts, and a line for each part with its share before. */
export function SentimentCard({ metrics, before }: { readonly metrics: Metrics; readonly before: Metrics | null }) {
  const shares = sentimentShares(metrics);
  const past = before === null ? null : sentimentShares(before);
  const known = shares.reduce((sum, { calls }) => sum + calls, 0);
  if (known === 0) return <Nothing title="No sentiment known"><p>It comes from the provider, or from what callers said in English.</p></Nothing>;
  return (
    <div class="sentiment">
      <div class="sentiment-bar" aria-hidden="true">
        {shares.map(({ sentiment, share }) => <span key={sentiment} class={`mood is-${sentiment}`} style={{ flexGrow: String(share ?? 0) }} />)}
      </div>
      <ul class="sentiment-list">
        {shares.map(({ sentiment, calls, share }, place) => (
          <li key={sentiment}>
            <span class={`mood-name is-${sentiment}`}>{format.words(sentiment)}</span>
            <span class="sentiment-share">{format.percent(share)}</span>
            <span class="muted small">{format.calls(calls)}<Before share={past?.[place]?.share ?? null} /></span>
          </li>
        ))}
      </ul>
      <p class="muted small sentiment-foot">
        Known for {format.count(known)} of {format.calls(metrics.total_calls)}.
      </p>
    </div>
  );
}

function Before({ share }: { readonly share: number | null }) {
  return share === null ? null : <> · {format.percent(share)} before</>;
}
