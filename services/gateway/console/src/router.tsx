/** The address: which view is shown, and its query. */

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";

export type Route =
  | { readonly view: "overview" }
  | { readonly view: "conversations" }
  | { readonly view: "conversation"; readonly id: string };

export const OVERVIEW = "/console/";
export const CONVERSATIONS = "/console/conversations";

/** What a list remembers beside its address: the cursors of the pages before (the first page's is empty). */
export interface Trail {
  readonly trail?: readonly string[];
}

export interface Place {
  readonly route: Route;
  readonly query: URLSearchParams;
  readonly trail: readonly string[];
}

const MOVED = "voice:moved";

/** Go to an address of the console. */
export function navigate(path: string, query: URLSearchParams, { replace = false, trail = [] as readonly string[] } = {}): void {
  const state: Trail = { trail };
  const address = addressOf(path, query);
  if (replace) history.replaceState(state, "", address);
  else history.pushState(state, "", address);
  dispatchEvent(new Event(MOVED));
}

/** Write an address. */
export function addressOf(path: string, query: URLSearchParams): string {
  const text = query.toString();
  return text === "" ? path : `${path}?${text}`;
}

/** Give the place of the address, and follow it. */
export function usePlace(): Place {
  const [place, setPlace] = useState(readPlace);
  useEffect(() => {
    const follow = () => setPlace(readPlace());
    addEventListener(MOVED, follow);
    addEventListener("popstate", follow);
    return () => {
      removeEventListener(MOVED, follow);
      removeEventListener("popstate", follow);
    };
  }, []);
  return place;
}

function readPlace(): Place {
  const state = history.state as Trail | null;
  return { route: routeOf(location.pathname), query: new URLSearchParams(location.search), trail: state?.trail ?? [] };
}

function routeOf(path: string): Route {
  const matched = /^\/console\/conversations(?:\/([^/]+))?$/.exec(path);
  if (matched === null) return { view: "overview" };
  return matched[1] === undefined ? { view: "conversations" } : { view: "conversation", id: decoded(matched[1]) };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a stray %: the API will say that it knows no such conversation
  }
}

interface LinkProps {
  readonly class?: string;
  readonly "aria-current"?: "page" | "true" | undefined;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly trail?: readonly string[];
  readonly children: ComponentChildren;
}

/** A link within the console: no new page is loaded, but a new tab opens where one is asked for. */
export function Link({ path, query, trail = [], children, ...rest }: LinkProps) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(path, query, { trail });
  };
  return (
    <a {...rest} href={addressOf(path, query)} onClick={follow}>
      {children}
    </a>
  );
}
