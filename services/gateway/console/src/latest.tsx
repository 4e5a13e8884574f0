/** The newest conversations of the overview. */

import * as format from "./format.ts";
import { Parties, StatusChip } from "./facts.tsx";
import { Nothing } from "./notices.tsx";
import { CONVERSATIONS, Link } from "./router.tsx";
import type { Conversation } from "./shapes.ts";

/** Shows a few conversations as links. */
export function Latest({ conversations, query }: { readonly conversations: readonly Conversation[]; readonly query: URLSearchParams }) {
  if (conversations.length === 0) return <Nothing title="No conversations in this range" />;
  return (
    <ul class="latest">
      {conversations.map((one) => (
        <li key={one.id}>
          <Link path={`${CONVERSATIONS}/${encodeURIComponent(one.id)}`} query={query}>
            <span class="latest-parties"><Parties of={one} /></span>
            <span class="latest-time muted small"><time dateTime={one.started_at}>{format.day(Date.parse(one.started_at))}, {format.clock(Date.parse(one.started_at)).slice(0, 5)}</time></span>
            <span class="latest-status small">{one.duration_seconds === null ? <StatusChip status={one.status} /> : <span class="muted">{format.duration(one.duration_seconds)}</span>}</span>
          </Link>
        </li>
      ))}
    </ul>
  );
}
