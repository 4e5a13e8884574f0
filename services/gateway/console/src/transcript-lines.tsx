/** A call as a conversation: the caller on the left, the assistant on the right, tools where they were called. */

import * as format from "./format.ts";
import { Icon } from "./icons.tsx";
import type { Recording, ToolCall } from "./shapes.ts";
import { type Line, placeIn } from "./transcript.ts";

interface Props {
  readonly lines: readonly Line[];
  /** When the talk began (ms): what times are counted from where there is no recording. */
  readonly start: number;
  readonly recording: Recording | null;
  /** Whether there is a recording, which may not be known yet: its lines' times keep room for a sign. */
  readonly recorded: boolean;
  /** The line that is heard now, or -1. */
  readonly current: number;
  readonly onJump: (seconds: number) => void;
}

const NAMES = { user: "Caller", assistant: "Assistant" } as const;
const OUTCOMES = { started: "No outcome told", succeeded: "Succeeded", failed: "Failed" } as const;

/** Shows every line with its time; a time that the recording covers plays it from there. */
export function TranscriptLines({ lines, start, recording, recorded, current, onJump }: Props) {
  return (
    <ol class="lines">
      {lines.map((line, index) => {
        const place = placeIn(recording, line.at);
        const time = <LineTime at={line.at} start={start} place={place} recorded={recorded} onJump={onJump} />;
        if (line.kind === "tool") return <li key={`t/${line.tool.id}`} class="line is-tool"><Tool call={line.tool} />{time}</li>;
        const { role, content, id } = line.message;
        return (
          <li key={id} class={`line is-${role}`} aria-current={index === current ? "true" : undefined}>
            <p class="line-head"><span class="speaker">{NAMES[role] ?? role}</span>{time}</p>
            <p class="bubble" dir="auto">{content}</p>
          </li>
        );
      })}
    </ol>
  );
}

function LineTime({ at, start, place, recorded, onJump }: {
  readonly at: number;
  readonly start: number;
  readonly place: number | null;
  readonly recorded: boolean;
  readonly onJump: (seconds: number) => void;
}) {
  const title = `${format.clock(at)} UTC`;
  if (place === null) {
    return (
      <time class="line-time" dateTime={new Date(at).toISOString()} title={title}>
        {recorded && <span class="no-sign" />}{format.position((at - start) / 1000)}
      </time>
    );
  }
  return (
    <button class="line-time" type="button" title={title} onClick={() => onJump(place)}>
      <Icon name="play" size={10} /><span class="sr">Play from </span>{format.position(place)}
    </button>
  );
}

function Tool({ call }: { readonly call: ToolCall }) {
  const told = textOf(call.arguments);
  return (
    <div class="tool">
      <p class="tool-head">
        <Icon name="tool" size={14} />
        <span class="tool-name">{call.name ?? "Tool call"}</span>
        <span class={`chip is-${call.status}`}>{OUTCOMES[call.status]}</span>
        {call.duration_ms !== null && <span class="muted small">{format.count(call.duration_ms)} ms</span>}
      </p>
      {call.error !== null && <p class="tool-error">{textOf(call.error)}</p>}
      {told !== "" && <details><summary>Arguments</summary><pre tabIndex={0}>{told}</pre></details>}
    </div>
  );
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}
