/** Light or dark: the system's, unless the reader chose one. */

export type Theme = "light" | "dark";
const KEY = "voice.theme";

/** Give the theme that is shown now. */
export function currentTheme(): Theme {
  return chosenTheme() ?? (systemPrefersDark().matches ? "dark" : "light");
}

/** Show the chosen theme, or the system's and follow it. */
export function beginTheme(): void {
  applyTheme();
  systemPrefersDark().addEventListener("change", applyTheme);
}

function applyTheme(): void {
  document.documentElement.dataset.theme = currentTheme();
}

/** Show the other theme, and remember it where the browser lets us. */
export function switchTheme(): void {
  const other = currentTheme() === "dark" ? "light" : "dark";
  localStorage.setItem(KEY, other);
  applyTheme();
  dispatchEvent(new Event("voice:theme"));
}

/** Call `changed` whenever another theme is shown; gives what ends that. */
export function onTheme(changed: () => void): () => void {
  const system = systemPrefersDark();
  system.addEventListener("change", changed);
  addEventListener("voice:theme", changed);
  return () => {
    system.removeEventListener("change", changed);
    removeEventListener("voice:theme", changed);
  };
}

function chosenTheme(): Theme | null {
  const chosen = localStorage.getItem(KEY);
  return chosen === "light" || chosen === "dark" ? chosen : null;
}

function systemPrefersDark(): MediaQueryList {
  return matchMedia("(prefers-color-scheme: dark)");
}
