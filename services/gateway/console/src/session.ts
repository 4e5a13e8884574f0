/** The reader's token: in this tab's session storage alone, never in an address. */

const KEY = "voice.token";

/** Give the token of this tab, or `null` where nobody has signed in. */
export function storedToken(): string | null {
  return sessionStorage.getItem(KEY);
}

/** Keep a token until the tab is closed, or forget it. */
export function storeToken(token: string | null): void {
  if (token === null) sessionStorage.removeItem(KEY);
  else sessionStorage.setItem(KEY, token);
}
