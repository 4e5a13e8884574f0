/** One conversation: its facts, its recording, and what was said and done. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { SentimentWord, StatusChip } from "./facts.tsx";
import * as format from "./format.ts";
import { Icon } from "./icons.tsx";
import { Bone, LimitNotice, Nothing, Shown } from "./notices.tsx";
import { Player } from "./player.tsx";
import { useResource } from "./resource.ts";
import { CONVERSATIONS, Link, type Place } from "./router.tsx";
import type { ConversationDetail, Message, Recording } from "./shapes.ts";
import { TranscriptLines } from "./transcript-lines.tsx";
import { lineAt, linesOf } from "./transcript.ts";

const EVERY_MS = 5_000;

/** Two requests of conversations, and one of recordings where there is a recording. */
export function ConversationView({ id, place }: { readonly id: string; readonly place: Place }) {
  const path = `/conversations/${encodeURIComponent(id)}`;
  const [active, setActive] = useState(false);
  const every = active ? EVERY_MS : 0;
  const detail = useResource<{ conversation: ConversationDetail }>(path, { every });
  const messages = useResource<Message[]>(`${path}/messages`, { every });
  const found = detail.loaded?.body.conversation ?? null;
  const recording = useResource<{ recording: Recording }>(
    found?.recording_available ? `/voice/recordings/${encodeURIComponent(id)}` : null,
    { allowed: 404 },
  );
  useEffect(() => setActive(found?.status === "active"), [found?.status]);
  useEffect(() => {
    document.title = `${found === null ? "Conversation" : otherParty(found)} · Voice Console`;
  }, [found]);

  const missing = detail.error?.status === 404 || detail.error?.status === 400;
  return (
    <div class="page">
      <Link class="link back-link" path={CONVERSATIONS} query={place.query} trail={place.trail}><Icon name="back" size={14} />Conversations</Link>
      <div class="page-head">
        <div>
          <h1 tabIndex={-1}>{found === null ? "Conversation" : otherParty(found)}</h1>
          <p class="muted page-range headline-box">{found === null ? (missing ? id : <Bone width="16rem" />) : <Headline of={found} />}</p>
        </div>
      </div>
      <LimitNotice of={[detail, messages, recording]} />
      {missing
        ? <section class="card" aria-label="Not found"><Nothing title="There is no such conversation"><p>It may belong to another tenant, or have been deleted.</p></Nothing></section>
        : (
          <Parts
            detail={detail} messages={messages} recording={recording}
            shownRecording={recording.loaded?.body.recording.available ? recording.loaded.body.recording : null}
          />
        )}
    </div>
  );
}

interface PartsProps {
  readonly detail: ReturnType<typeof useResource<{ conversation: ConversationDetail }>>;
  readonly messages: ReturnType<typeof useResource<Message[]>>;
  readonly recording: ReturnType<typeof useResource<{ recording: Recording }>>;
  readonly shownRecording: Recording | null;
}

function Parts({ detail, messages, recording, shownRecording }: PartsProps) {
  const audio = useRef<HTMLAudioElement>(null);
  const [seconds, setSeconds] = useState<number | null>(null);
  const found = detail.loaded?.body.conversation ?? null;
  const said = messages.loaded?.body;
  // Tool calls come with the facts: lines that are shown already must not move for them.
  const awaited = found === null && detail.error === null;
  const lines = useMemo(() => linesOf(said ?? [], found?.tool_calls ?? []), [said, found]);
  const jump = (place: number) => {
    const player = audio.current;
    if (player === null) return;
    player.currentTime = place;
    void player.play().catch(() => undefined); // the player itself shows why it can't
  };
  return (
    <div class="conversation">
      <section class="card transcript-card" aria-labelledby="transcript-title">
        <div class="card-head">
          <h2 id="transcript-title">Transcript</h2>
          {shownRecording?.started_at != null && <span class="muted small">Choose a time to hear it</span>}
        </div>
        <Shown of={awaited ? { ...messages, loaded: null } : messages} skeleton={<TranscriptSkeleton />}>
          {() => lines.length === 0
            ? <Nothing title="Nothing was said"><p>{found?.status === "active" ? "Lines appear as they are spoken." : "There is no final transcript of this call."}</p></Nothing>
            : (
              <TranscriptLines
                lines={lines} start={found === null ? (lines[0]?.at ?? 0) : Date.parse(found.answered_at ?? found.started_at)}
                recording={shownRecording} recorded={found?.recording_available ?? false} current={seconds === null ? -1 : lineAt(lines, shownRecording, seconds)} onJump={jump}
              />
            )}
        </Shown>
      </section>
      <div class="conversation-side">
        <section class="card recording-card" aria-labelledby="recording-title">
          <div class="card-head"><h2 id="recording-title">Recording</h2></div>
          <div class="player-box">
            {found !== null && !found.recording_available
              ? <p class="muted">There is no recording of this call.</p>
              : (
                <Shown of={recording} skeleton={<div class="bone player-bone" aria-hidden="true" />}>
                  {({ recording: one }) => one.available
                    ? <Player audio={audio} recording={one} onTime={setSeconds} onRetry={() => recording.reload(true)} />
                    : <p class="muted">There is no recording of this call.</p>}
                </Shown>
              )}
          </div>
        </section>
        <section class="card facts-card" aria-labelledby="facts-title">
          <div class="card-head"><h2 id="facts-title">Facts</h2></div>
          <Shown of={detail} skeleton={<FactsSkeleton />}>{({ conversation }) => <Facts of={conversation} />}</Shown>
        </section>
      </div>
    </div>
  );
}

function Headline({ of }: { readonly of: ConversationDetail }) {
  const start = Date.parse(of.started_at);
  return (
    <span class="headline">
      <StatusChip status={of.status} />
      <span class="headline-when">{format.words(of.direction ?? "voice")} call on <time dateTime={of.started_at} title={format.localTime(start)}>{format.date(start)}, {format.clock(start)} UTC</time></span>
      {of.duration_seconds !== null && <span class="headline-talk">{format.duration(of.duration_seconds)} of talk</span>}
    </span>
  );
}

function Facts({ of }: { readonly of: ConversationDetail }) {
  const failed = of.tool_calls.filter(({ status }) => status === "failed").length;
  return (
    <dl class="facts">
      <div><dt>From</dt><dd>{of.from ?? format.NOTHING}</dd></div>
      <div><dt>To</dt><dd>{of.to ?? format.NOTHING}</dd></div>
      <div><dt>Started</dt><dd><Moment text={of.started_at} /></dd></div>
      <div><dt>Answered</dt><dd><Moment text={of.answered_at} /></dd></div>
      <div><dt>Ended</dt><dd><Moment text={of.ended_at} /></dd></div>
      <div><dt>Talk time</dt><dd>{format.duration(of.duration_seconds)}</dd></div>
      <div><dt>Hangup cause</dt><dd>{of.hangup_cause === null ? format.NOTHING : format.words(of.hangup_cause)}</dd></div>
      <div><dt>Sentiment</dt><dd><SentimentWord sentiment={of.sentiment} /></dd></div>
      <div><dt>Messages</dt><dd>{format.count(of.message_count)}</dd></div>
      <div><dt>Tool calls</dt><dd>{format.count(of.tool_calls.length)}{failed > 0 && `, ${failed} failed`}</dd></div>
      <div class="fact-id"><dt>Id</dt><dd><code>{of.id}</code></dd></div>
    </dl>
  );
}

function Moment({ text }: { readonly text: string | null }) {
  if (text === null) return <>{format.NOTHING}</>;
  return <time dateTime={text} title={format.localTime(Date.parse(text))}>{format.clock(Date.parse(text))}</time>;
}

function TranscriptSkeleton() {
  return <div class="list-bones is-tall">{Array.from({ length: 7 }, (_, row) => <Bone key={row} width={`${70 - ((row * 19) % 30)}%`} />)}</div>;
}

function FactsSkeleton() {
  return <div class="list-bones facts-bones">{Array.from({ length: 12 }, (_, row) => <Bone key={row} width="90%" />)}</div>;
}

function otherParty(of: ConversationDetail): string {
  return (of.direction === "outbound" ? of.to : of.from) ?? "Unknown number";
}
