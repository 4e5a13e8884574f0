/** Whole UTC days, written as the API does: `2025-01-31`. */

export const DAY_MS = 86_400_000;
const FORM = /^\d{4}-\d{2}-\d{2}$/;

/** Give the UTC day of a moment in milliseconds. */
export function dayOf(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** Give a day's first moment in milliseconds, or `null` for what is no day of 1970 to 9998. */
export function startOf(day: string): number | null {
  if (!FORM.test(day)) return null;
  const ms = Date.parse(`${day}T00:00:00Z`);
  return Number.isNaN(ms) || dayOf(ms) !== day || day < "1970" || day >= "9999" ? null : ms;
}

/** Give the day that is `count` days after `day` (before it where negative). */
export function shifted(day: string, count: number): string {
  return dayOf(Date.parse(`${day}T00:00:00Z`) + count * DAY_MS);
}

/** Count the days from the first to the last, both included. */
export function daysBetween(first: string, last: string): number {
  return (Date.parse(`${last}T00:00:00Z`) - Date.parse(`${first}T00:00:00Z`)) / DAY_MS + 1;
}
