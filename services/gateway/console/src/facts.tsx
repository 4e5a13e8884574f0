/** Small facts of a conversation that several views show. */

import * as format from "./format.ts";
import { Icon } from "./icons.tsx";
import type { Conversation, Sentiment, Status } from "./shapes.ts";

const STATUS: Record<Status, string> = { active: "Active", completed: "Completed", failed: "Failed" };

/** A status as a coloured word. */
export function StatusChip({ status }: { readonly status: Status }) {
  return <span class={`chip is-${status}`}>{STATUS[status] ?? format.words(status)}</span>;
}

/** A sentiment as a coloured dot and its word. */
export function SentimentWord({ sentiment }: { readonly sentiment: Sentiment | null }) {
  if (sentiment === null) return <span class="muted"><span aria-hidden="true">{format.NOTHING}</span><span class="sr">not known</span></span>;
  return <span class={`mood-name is-${sentiment}`}>{format.words(sentiment)}</span>;
}

/** Who called, with an arrow for the direction: the other party's number is what a person looks for. */
export function Parties({ of }: { readonly of: Conversation }) {
  const outbound = of.direction === "outbound";
  return (
    <span class="parties">
      <span class={`direction is-${of.direction ?? "unknown"}`} title={of.direction === null ? "Direction not known" : format.words(of.direction)}>
        <Icon name={outbound ? "outbound" : "inbound"} size={14} />
        <span class="sr">{of.direction === null ? "Direction not known" : `${format.words(of.direction)} call ${outbound ? "to" : "from"}`} </span>
      </span>
      <span class="number">{(outbound ? of.to : of.from) ?? "Unknown number"}</span>
    </span>
  );
}
