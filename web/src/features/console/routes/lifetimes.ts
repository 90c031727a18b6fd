// For how long the answers of a route are fresh, by those that are stored.
import { plural, span } from '../../../ui/format';
import type { Freshness } from '../api/entries';

/** `null`: nothing is stored that says it. */
export function lifetimesSay(entries: readonly Freshness[]): string | null {
  const lifetimes = entries
    .filter(({ state }) => state !== 'purged')
    .flatMap(({ age_seconds, fresh_for_seconds }) => (fresh_for_seconds === null ? [] : [Math.max(0, Math.round(age_seconds + fresh_for_seconds))]))
    .toSorted((one, other) => one - other);
  const [least, most] = [lifetimes[0], lifetimes.at(-1)];
  if (least === undefined || most === undefined) return null;
  const howLong = least === most ? span(least) : `${span(least)} to ${span(most)}`;
  return `What is stored of it now is fresh for ${howLong} (looked at: ${plural(lifetimes.length, 'entry', 'entries')}).`;
}
