/** The list of conversations of a range, newest first, a page at a time. */

import { useEffect } from "preact/hooks";
import { Parties, SentimentWord, StatusChip } from "./facts.tsx";
import * as format from "./format.ts";
import { Icon } from "./icons.tsx";
import { Bone, LimitNotice, Nothing, Shown } from "./notices.tsx";
import { RangePicker } from "./range-picker.tsx";
import { isOpen, presetRange, rangeOf, rangeQuery, withRange } from "./ranges.ts";
import { useResource } from "./resource.ts";
import { CONVERSATIONS, Link, navigate, type Place } from "./router.tsx";
import type { Conversation, ConversationPage, Status } from "./shapes.ts";

const LIMIT = 25;
const EVERY_MS = 60_000;
const STATUSES: readonly { value: Status | ""; label: string }[] = [
  { value: "", label: "All" },
  { value: "completed", label: "Completed" },
  { value: "failed", label: "Failed" },
  { value: "active", label: "Active" },
];

/** One request for each page. The API's cursor is in the address, so that a page is a link. */
export function Conversations({ place: { query, trail } }: { readonly place: Place }) {
  const now = Date.now();
  const range = rangeOf(query, now);
  const status = STATUSES.find(({ value }) => value === query.get("status"))?.value ?? "";
  const cursor = query.get("cursor") ?? "";
  const asked = new URLSearchParams({ channel: "voice", ...(status && { status }), ...(cursor && { cursor }), limit: String(LIMIT) });
  const page = useResource<ConversationPage>(`/conversations?${asked}&${rangeQuery(range)}`, {
    every: isOpen(range, now) && cursor === "" ? EVERY_MS : 0,
  });
  useEffect(() => {
    document.title = "Conversations · Voice Console";
  }, []);
  return (
    <div class="page">
      <div class="page-head">
        <div>
          <h1 tabIndex={-1}>Conversations</h1>
          <p class="muted page-range">
            {format.days(range.start, range.end)} · all times UTC{page.loaded !== null && <> · {totalOf(page.loaded.body)}</>}
          </p>
        </div>
        <div class="page-tools"><RangePicker path={CONVERSATIONS} query={query} range={range} /></div>
      </div>
      <LimitNotice of={[page]} />
      <StatusFilter chosen={status} query={query} />
      <section class="card list-card" aria-label="Conversations of the range">
        <Shown of={page} skeleton={<ListSkeleton />}>
          {({ conversations }) => conversations.length === 0
            ? <NoConversations filtered={status !== "" || cursor !== ""} query={query} />
            : <Table conversations={conversations} query={query} />}
        </Shown>
      </section>
      <Pages query={query} trail={trail} cursor={cursor} next={page.stale ? null : (page.loaded?.body.next_cursor ?? null)} />
    </div>
  );
}

function StatusFilter({ chosen, query }: { readonly chosen: string; readonly query: URLSearchParams }) {
  return (
    <fieldset class="segments">
      <legend class="sr">Status</legend>
      {STATUSES.map(({ value, label }) => (
        <label key={value}>
          <input type="radio" name="status" value={value} checked={chosen === value} onChange={() => navigate(CONVERSATIONS, changed(query, { status: value, cursor: "" }))} />
          <span>{label}</span>
        </label>
      ))}
    </fieldset>
  );
}

function Table({ conversations, query }: { readonly conversations: readonly Conversation[]; readonly query: URLSearchParams }) {
  // Roles are written out: as a phone's cards, rows and cells are no longer laid out as a table.
  return (
    <table class="list" role="table">
      <thead role="rowgroup">
        <tr role="row">
          {["Started", "Customer", "Your number", "Duration", "Sentiment", "Recording", "Status"].map((name) => <th key={name} role="columnheader" scope="col">{name}</th>)}
        </tr>
      </thead>
      <tbody role="rowgroup">{conversations.map((one) => <Row key={one.id} one={one} query={query} />)}</tbody>
    </table>
  );
}

function Row({ one, query }: { readonly one: Conversation; readonly query: URLSearchParams }) {
  const start = Date.parse(one.started_at);
  const ours = one.direction === "outbound" ? one.from : one.to;
  return (
    <tr role="row">
      <td role="cell" class="cell-started">
        <Link class="row-link" path={`${CONVERSATIONS}/${encodeURIComponent(one.id)}`} query={query}>
          <time dateTime={one.started_at} title={format.localTime(start)}>{format.date(start)}, {format.clock(start)}</time>
        </Link>
      </td>
      <td role="cell" class="cell-parties"><Parties of={one} /></td>
      <td role="cell" class="cell-ours muted">{ours ?? format.NOTHING}</td>
      <td role="cell" class={cell("duration", one.duration_seconds !== null)}>{one.duration_seconds === null ? <span class="muted">{format.NOTHING}</span> : format.duration(one.duration_seconds)}</td>
      <td role="cell" class={cell("sentiment", one.sentiment !== null)}><SentimentWord sentiment={one.sentiment} /></td>
      <td role="cell" class={cell("recording", one.recording_available)}>
        {one.recording_available ? <span class="recorded"><Icon name="wave" /><span>Available</span></span> : <span class="muted"><span aria-hidden="true">{format.NOTHING}</span><span class="sr">none</span></span>}
      </td>
      <td role="cell" class="cell-status"><StatusChip status={one.status} /></td>
    </tr>
  );
}

/** Name a cell; a phone has no column for what is not known. */
function cell(name: string, known: boolean): string {
  return `cell-${name}${known ? "" : " is-unknown"}`;
}

function Pages({ query, trail, cursor, next }: {
  readonly query: URLSearchParams;
  readonly trail: readonly string[];
  readonly cursor: string;
  readonly next: string | null;
}) {
  if (cursor === "" && next === null) return null;
  // A page that was opened by its link knows none before it, but the first one.
  const before = trail.at(-1) ?? "";
  return (
    <nav class="pages" aria-label="Pages">
      {cursor === ""
        ? <span class="button" aria-disabled="true"><Icon name="back" />Newer</span>
        : <Link class="button" path={CONVERSATIONS} query={changed(query, { cursor: before })} trail={trail.slice(0, -1)}><Icon name="back" />{trail.length === 0 ? "First page" : "Newer"}</Link>}
      {(cursor === "" || trail.length > 0) && <span class="muted small">Page {trail.length + 1}</span>}
      {next === null
        ? <span class="button" aria-disabled="true">Older<Icon name="next" /></span>
        : <Link class="button" path={CONVERSATIONS} query={changed(query, { cursor: next })} trail={[...trail, cursor]}>Older<Icon name="next" /></Link>}
    </nav>
  );
}

function NoConversations({ filtered, query }: { readonly filtered: boolean; readonly query: URLSearchParams }) {
  return (
    <Nothing title={filtered ? "No conversations of this kind in the range" : "No conversations in this range"}>
      {filtered
        ? <Link class="button" path={CONVERSATIONS} query={changed(query, { status: "", cursor: "" })}>Show all of the range</Link>
        : <Link class="button" path={CONVERSATIONS} query={withRange(query, presetRange("90d", Date.now()))}>Look at the last 90 days</Link>}
    </Nothing>
  );
}

function ListSkeleton() {
  return <div class="list-bones is-tall">{Array.from({ length: 10 }, (_, row) => <Bone key={row} width={`${97 - ((row * 13) % 22)}%`} />)}</div>;
}

function changed(query: URLSearchParams, values: Record<string, string>): URLSearchParams {
  const made = new URLSearchParams(query);
  for (const [name, value] of Object.entries(values)) {
    if (value === "") made.delete(name);
    else made.set(name, value);
  }
  return made;
}

function totalOf({ total, total_relation }: ConversationPage): string {
  const text = `${format.count(total)} ${total === 1 ? "conversation" : "conversations"}`;
  return total_relation === "gte" ? `more than ${text}` : text;
}
