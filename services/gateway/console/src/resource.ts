/** Something of the API that a view shows: asked for, kept while it changes, asked for again by itself. */

import { createContext } from "preact";
import { useCallback, useContext, useEffect, useRef, useState } from "preact/hooks";
import { type Api, ApiError, isAbort, type Loaded } from "./api.ts";

export const ApiContext = createContext<Api | null>(null);

/** Give the reader's way to the API; only views of somebody who has signed in may ask. */
export function useApi(): Api {
  const api = useContext(ApiContext);
  if (api === null) throw new Error("Nobody has signed in");
  return api;
}

export interface Resource<T> {
  /** The last answer, also while another one is awaited; `null` before the first. */
  readonly loaded: Loaded<T> | null;
  readonly error: ApiError | null;
  /** Whether `loaded` answers another address than the one that is shown now. */
  readonly stale: boolean;
  readonly reload: (fresh?: boolean) => void;
}

interface Options {
  /** Milliseconds after which it is asked for again while the page is seen; 0: never. */
  readonly every?: number;
  /** Another status than 2xx whose body is wanted. */
  readonly allowed?: number;
}

interface State<T> {
  readonly path: string | null;
  readonly loaded: Loaded<T> | null;
  readonly error: ApiError | null;
}

/** A change of range by keys or clicks in a row asks once. */
const SETTLE_MS = 150;
const LONGEST_WAIT_MS = 60_000;

/** Get `path` of the API (`null`: nothing yet). What the answer says to ask for later is asked for later, by itself. */
export function useResource<T>(path: string | null, { every = 0, allowed }: Options = {}): Resource<T> {
  const api = useApi();
  const [state, setState] = useState<State<T>>({ path: null, loaded: null, error: null });
  const [turn, setTurn] = useState(0);
  const asked = useRef<string | null>(null);
  const wantsFresh = useRef(false);
  const failures = useRef(0);
  const reload = useCallback((fresh = false) => {
    wantsFresh.current = fresh;
    setTurn((number) => number + 1);
  }, []);

  useEffect(() => {
    if (path === null) return;
    const controller = new AbortController();
    let timer = 0;
    const ask = async (fresh: boolean) => {
      try {
        const options = { signal: controller.signal, fresh, ...(allowed === undefined ? {} : { allowed }) };
        const loaded = await api.get<T>(path, options);
        failures.current = 0;
        setState({ path, loaded, error: null });
        if (every > 0) timer = window.setTimeout(again, every);
      } catch (error) {
        if (isAbort(error)) return;
        if (!(error instanceof ApiError)) throw error;
        failures.current += 1;
        setState((before) => ({ path, loaded: before.path === path ? before.loaded : null, error }));
        const wait = waitAfter(error, failures.current);
        if (wait !== null) timer = window.setTimeout(again, wait);
      }
    };
    const again = () => {
      if (document.visibilityState === "visible") void ask(false);
      else document.addEventListener("visibilitychange", again, { once: true, signal: controller.signal });
    };
    const moved = asked.current !== null && asked.current !== path;
    asked.current = path;
    const fresh = wantsFresh.current;
    wantsFresh.current = false;
    timer = window.setTimeout(() => void ask(fresh), moved ? SETTLE_MS : 0);
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [api, path, every, allowed, turn]);

  return { loaded: state.loaded, error: state.path === path ? state.error : null, stale: state.path !== path, reload };
}

/** Give the milliseconds until it is worth asking again, or `null` where only another request can help. */
function waitAfter(error: ApiError, failures: number): number | null {
  if (error.status === 429) return Math.max(0, (error.retryAt ?? Date.now() + 1000) - Date.now());
  if (error.status !== 0 && error.status < 500) return null;
  const backoff = Math.min(LONGEST_WAIT_MS, 2000 * 2 ** (failures - 1));
  return Math.max(backoff, (error.retryAt ?? 0) - Date.now());
}
