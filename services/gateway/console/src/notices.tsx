/** What stands where data will be, where there is none, and where it could not be had. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { ApiError } from "./api.ts";
import { Icon, type IconName } from "./icons.tsx";
import type { Resource } from "./resource.ts";

/** A place holder of a line of text. */
export function Bone({ width }: { readonly width: string }) {
  return <span class="bone" style={{ width }} aria-hidden="true" />;
}

/** Says that there is nothing, and what could be done about it. */
export function Nothing({ icon = "empty", title, children }: {
  readonly icon?: IconName;
  readonly title: string;
  readonly children?: ComponentChildren;
}) {
  return (
    <div class="nothing">
      <Icon name={icon} size={28} />
      <p class="nothing-title">{title}</p>
      {children !== undefined && <div class="nothing-more">{children}</div>}
    </div>
  );
}

/** Says why something could not be had. The limit has a notice of its own. */
export function Failure({ error, retry }: { readonly error: ApiError; readonly retry: () => void }) {
  if (error.status === 429) return <Nothing icon="clock" title="Waiting for the rate limit" />;
  const forbidden = error.status === 403;
  const passing = error.status === 0 || error.status >= 500;
  return (
    <div class="refused" role="alert">
      <Nothing icon="alert" title={forbidden ? "This token may not see this" : "This could not be loaded"}>
        <p>{error.message}{passing && " The console tries again by itself."}</p>
        {forbidden ? <p>Sign in with a token that has the scope.</p> : <button class="button" type="button" onClick={retry}>Try again</button>}
      </Nothing>
    </div>
  );
}

/** Shows a resource: a skeleton before the first answer, a failure where there is none, else what it is for. */
export function Shown<T>({ of, skeleton, children }: {
  readonly of: Resource<T>;
  readonly skeleton: ComponentChildren;
  readonly children: (body: T) => ComponentChildren;
}) {
  if (of.error !== null && of.loaded === null) return <Failure error={of.error} retry={() => of.reload()} />;
  if (of.loaded === null) return <>{skeleton}</>;
  return <div class={of.stale ? "settled is-stale" : "settled"} aria-busy={of.stale}>{children(of.loaded.body)}</div>;
}

/** Says when the rate limit lets the console go on, which it does by itself. */
export function LimitNotice({ of }: { readonly of: readonly Resource<unknown>[] }) {
  const until = Math.max(0, ...of.map(({ error }) => (error?.status === 429 ? (error.retryAt ?? 0) : 0)));
  return <div role="status" class="toasts">{until > 0 && <Countdown key={until} until={until} />}</div>;
}

function Countdown({ until }: { readonly until: number }) {
  const left = () => Math.max(1, Math.ceil((until - Date.now()) / 1000));
  const [seconds, setSeconds] = useState(left);
  const [first] = useState(seconds);
  useEffect(() => {
    const timer = setInterval(() => setSeconds(left()), 500);
    return () => clearInterval(timer);
  }, [until]);
  return (
    <div class="toast">
      <Icon name="clock" size={20} />
      <p>
        <strong>Rate limit reached.</strong> Your tenant has used up its requests for this minute. Nothing is lost: the
        console goes on by itself <span aria-hidden="true" class="nowrap">in {seconds} s.</span>
        <span class="sr">in about {first} seconds.</span>
      </p>
    </div>
  );
}
