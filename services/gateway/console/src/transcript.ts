/** A call in the order in which it went: what was said and which tools were called. */

import type { Message, Recording, ToolCall } from "./shapes.ts";

export type Line =
  | { readonly kind: "message"; readonly at: number; readonly message: Message }
  | { readonly kind: "tool"; readonly at: number; readonly tool: ToolCall };

/** Put messages and tool calls in one order, by time; messages keep theirs, and go first at the same time. */
export function linesOf(messages: readonly Message[], tools: readonly ToolCall[]): Line[] {
  const said = messages.map((message): Line => ({ kind: "message", at: Date.parse(message.created_at), message }));
  const called = tools
    .map((tool): Line => ({ kind: "tool", at: Date.parse(tool.started_at), tool }))
    .sort((one, other) => one.at - other.at);
  const lines: Line[] = [];
  for (const line of said) {
    while (called[0] !== undefined && called[0].at < line.at) lines.push(called.shift() as Line);
    lines.push(line);
  }
  return lines.concat(called);
}

/** Give the place (seconds) of a moment (ms) in a recording, or `null` where its times do not tell. */
export function placeIn(recording: Recording | null, at: number): number | null {
  if (recording?.started_at == null) return null;
  const start = Date.parse(recording.started_at);
  const end = recording.ended_at === null ? null : Date.parse(recording.ended_at);
  return at < start || (end !== null && at > end) ? null : (at - start) / 1000;
}

/** Give the index of the line that is spoken at a place (seconds) of a recording, or -1 before the first. */
export function lineAt(lines: readonly Line[], recording: Recording | null, seconds: number): number {
  return lines.findLastIndex((line) => {
    const place = placeIn(recording, line.at);
    return line.kind === "message" && place !== null && place <= seconds + 0.05;
  });
}

/** A recording's file: its URL, its format by its name, and whether a browser can load it. */
export interface AudioFile {
  readonly url: string;
  readonly format: string;
  readonly loads: boolean;
}

/** Give a recording's files; a URL of a storage that browsers do not speak (`gs:`, `s3:`) does not load. What the
 * gateway's policy does not let play, the player says. */
export function filesOf(recording: Recording): AudioFile[] {
  return (recording.urls ?? []).map((url) => {
    const parsed = URL.canParse(url) ? new URL(url) : null;
    const format = /\.([a-z0-9]{2,4})$/i.exec(parsed?.pathname ?? url)?.[1]?.toLowerCase() ?? "audio";
    return { url, format, loads: parsed?.protocol === "https:" || parsed?.protocol === "http:" };
  });
}
