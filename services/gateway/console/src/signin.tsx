/** The way in: a token, which is tried before it is kept. */

import { useEffect, useRef, useState } from "preact/hooks";
import { Api, ApiError } from "./api.ts";
import { Mark } from "./icons.tsx";
import { rangeOf, rangeQuery } from "./ranges.ts";

interface Props {
  /** Why somebody who had signed in has to do it again. */
  readonly reason: string | null;
  readonly onToken: (token: string) => void;
}

const SEEN = { type: "text" } as const;
const HIDDEN = { type: "password" } as const;

/** Asks for a token. */
export function SignIn({ reason, onToken }: Props) {
  const field = useRef<HTMLInputElement>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    document.title = "Sign in · Voice Console";
    field.current?.focus();
  }, []);

  const submit = async (event: Event) => {
    event.preventDefault();
    const token = (field.current?.value ?? "").trim().replace(/^Bearer\s+/i, "");
    if (busy) return;
    const refusal = token === "" ? "Paste a token first." : await trial(token, setBusy);
    if (refusal === null) return onToken(token);
    setProblem(refusal);
    field.current?.focus();
  };

  return (
    <main class="signin">
      <form class="card signin-card" onSubmit={submit} noValidate>
        <Mark />
        <h1 tabIndex={-1}>Sign in to Voice</h1>
        <p class="muted">See your calls, recordings and transcripts with an API token of your tenant.</p>
        {reason !== null && <p class="callout" role="status">{reason}</p>}
        <label for="token">API token</label>
        <div class="field-row">
          <input
            ref={field} id="token" name="token" {...(seen ? SEEN : HIDDEN)} placeholder="vst_…" autocomplete="off"
            autocapitalize="off" spellcheck={false} aria-invalid={problem !== null} aria-describedby="token-help token-problem"
            onInput={() => setProblem(null)}
          />
          <button class="button" type="button" aria-pressed={seen} onClick={() => setSeen(!seen)}>
            {seen ? "Hide" : "Show"}<span class="sr"> token</span>
          </button>
        </div>
        <p class="problem" id="token-problem" role="alert">{problem}</p>
        <button class="button is-primary" type="submit" aria-disabled={busy}>{busy ? "Signing in…" : "Sign in"}</button>
        <p class="muted small" id="token-help">
          The token stays in this tab and is forgotten when you close it. Make one with{" "}
          <code>voice token issue TENANT</code>; <code>make run</code> prints one for its demo.
        </p>
      </form>
    </main>
  );
}

/** Try a token on the figures that the first view needs anyway; give why it is refused, or `null`. */
async function trial(token: string, setBusy: (busy: boolean) => void): Promise<string | null> {
  // Headers take Latin-1 alone, and a token is visible ASCII.
  if (!/^[!-~]+$/.test(token)) return "This is no token: it has characters that no token has.";
  setBusy(true);
  try {
    const now = Date.now();
    const range = rangeOf(new URLSearchParams(location.search), now);
    await new Api(token, () => undefined).get(`/voice/analytics/detailed?${rangeQuery(range)}`);
    return null;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return refusalOf(error);
  } finally {
    setBusy(false);
  }
}

function refusalOf(error: ApiError): string | null {
  if (error.status === 403) return null; // a good token that may not see analytics; the views say so
  if (error.status === 401) return "This token is not known, has expired or was revoked.";
  if (error.status !== 429) return error.message;
  const seconds = Math.max(1, Math.ceil(((error.retryAt ?? Date.now()) - Date.now()) / 1000));
  return `There were too many requests. Try again in ${seconds} s.`;
}
