/** A recording: the browser's own player, and links to its files. */

import type { RefObject } from "preact";
import { useState } from "preact/hooks";
import * as format from "./format.ts";
import { Icon } from "./icons.tsx";
import type { Recording } from "./shapes.ts";
import { filesOf } from "./transcript.ts";

interface Props {
  readonly audio: RefObject<HTMLAudioElement | null>;
  readonly recording: Recording;
  readonly onTime: (seconds: number | null) => void;
  /** Ask for the recording again: its links may have run out. */
  readonly onRetry: () => void;
}

/** Plays the first file that a browser can load. */
export function Player({ audio, recording, onTime, onRetry }: Props) {
  const [failed, setFailed] = useState(false);
  const files = filesOf(recording);
  const played = files.find(({ loads }) => loads);
  const retry = () => {
    setFailed(false);
    onRetry();
    audio.current?.load();
  };
  if (played === undefined) {
    return (
      <>
        <p class="muted">The recording is in a storage that browsers can’t read.</p>
        <ul class="plain small">{files.map(({ url }) => <li key={url}><code class="breakable">{url}</code></li>)}</ul>
      </>
    );
  }
  return (
    <>
      <audio
        ref={audio} class="player" controls preload="metadata" src={played.url} aria-label="Recording of the call"
        onTimeUpdate={(event) => onTime(event.currentTarget.currentTime)} onEnded={() => onTime(null)}
        onError={() => setFailed(true)} onLoadedMetadata={() => setFailed(false)}
      />
      <div role="status">
        {failed && (
          <p class="callout small">
            The recording did not load. Links of Telnyx can run out after ten minutes, and some storages answer nobody else.{" "}
            <button class="link" type="button" onClick={retry}>Try again</button>
          </p>
        )}
      </div>
      <p class="downloads small">
        {files.filter(({ loads }) => loads).map(({ url, format: kind }) => (
          <a key={url} class="button is-small" href={url} download target="_blank" rel="noopener noreferrer">
            <Icon name="download" size={14} />Download {kind === "audio" ? "the file" : kind.toUpperCase()}
          </a>
        ))}
        <span class="muted">{recording.duration_seconds !== null && format.duration(recording.duration_seconds)}</span>
      </p>
    </>
  );
}
