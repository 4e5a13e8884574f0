/** The whole page: signed out, or a view within its frame. */

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Api } from "./api.ts";
import { ConversationView } from "./conversation.tsx";
import { Conversations } from "./conversations.tsx";
import { Icon, Mark } from "./icons.tsx";
import { Overview } from "./overview.tsx";
import { ApiContext } from "./resource.ts";
import { CONVERSATIONS, Link, OVERVIEW, type Place, usePlace } from "./router.tsx";
import { storedToken, storeToken } from "./session.ts";
import { SignIn } from "./signin.tsx";
import { currentTheme, onTheme, switchTheme } from "./theme.ts";

const EXPIRED = "Your token has expired or was revoked. Sign in again to go on where you were.";

/** Shows the sign-in until there is a token, and again once it is good no longer. */
export function Console() {
  const [token, setToken] = useState(storedToken);
  const [reason, setReason] = useState<string | null>(null);
  const arrived = useRef(false);
  const change = useCallback((next: string | null, why: string | null) => {
    storeToken(next);
    setReason(why);
    setToken(next);
    arrived.current = next !== null;
  }, []);
  const api = useMemo(() => (token === null ? null : new Api(token, () => change(null, EXPIRED))), [token, change]);
  if (api === null) return <SignIn reason={reason} onToken={(next) => change(next, null)} />;
  return (
    <ApiContext.Provider value={api}>
      <Frame arrived={arrived.current} onSignOut={() => change(null, "You have signed out.")} />
    </ApiContext.Provider>
  );
}

interface FrameProps {
  /** Whether somebody has signed in just now: the field that had the focus is gone. */
  readonly arrived: boolean;
  readonly onSignOut: () => void;
}

function Frame({ arrived, onSignOut }: FrameProps) {
  const place = usePlace();
  const main = useRef<HTMLElement>(null);
  const first = useRef(!arrived);
  const key = place.route.view === "conversation" ? place.route.id : place.route.view;
  useEffect(() => {
    if (!first.current) {
      scrollTo(0, 0);
      main.current?.querySelector("h1")?.focus(); // a screen reader hears where it is
    }
    first.current = false;
  }, [key]);
  return (
    <>
      <a class="skip" href="#main">Skip to the content</a>
      <header class="top">
        <div class="top-inner">
          <Link class="brand" path={OVERVIEW} query={rangeOnly(place.query)}><Mark /><span>Voice</span></Link>
          <nav aria-label="Console">
            <NavLink place={place} view="overview" path={OVERVIEW}>Overview</NavLink>
            <NavLink place={place} view="conversations" path={CONVERSATIONS}>Conversations</NavLink>
          </nav>
          <div class="top-tools">
            <ThemeButton />
            <button class="button is-quiet" type="button" onClick={onSignOut}>
              <Icon name="leave" /><span class="wide-only">Sign out</span><span class="sr narrow-only">Sign out</span>
            </button>
          </div>
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1}><View place={place} /></main>
    </>
  );
}

function View({ place }: { readonly place: Place }) {
  if (place.route.view === "overview") return <Overview place={place} />;
  if (place.route.view === "conversations") return <Conversations place={place} />;
  return <ConversationView key={place.route.id} id={place.route.id} place={place} />;
}

function NavLink({ place, view, path, children }: {
  readonly place: Place;
  readonly view: "overview" | "conversations";
  readonly path: string;
  readonly children: string;
}) {
  const shown = place.route.view;
  const current = shown === view ? "page" : shown === "conversation" && view === "conversations" ? "true" : undefined;
  return <Link class="nav-link" aria-current={current} path={path} query={rangeOnly(place.query)}>{children}</Link>;
}

function rangeOnly(query: URLSearchParams): URLSearchParams {
  return new URLSearchParams([...query].filter(([name]) => ["range", "start", "end"].includes(name)));
}

function ThemeButton() {
  const [theme, setTheme] = useState(currentTheme);
  useEffect(() => onTheme(() => setTheme(currentTheme())), []);
  const other = theme === "dark" ? "light" : "dark";
  return (
    <button class="button is-quiet is-icon" type="button" title={`Use the ${other} theme`} aria-label={`Use the ${other} theme`} onClick={switchTheme}>
      <Icon name={theme === "dark" ? "sun" : "moon"} size={18} />
    </button>
  );
}
