// Who takes the origin's time, and why.
import type { Route } from '../api/routes';
import { requestsOf } from '../api/samples';
import { percent, plural } from '../../../ui/format';
import { reasonWords } from '../words/reasons';

export interface Share {
  readonly name: string;
  readonly share: number;
}

/** So many are named; the others are one. */
const NAMED = 5;

/** Of the origin's whole time, the largest first. Empty where nothing was asked. */
export function sharesOf(routes: readonly Route[]): readonly Share[] {
  const all = routes.reduce((sum, { origin_seconds }) => sum + origin_seconds, 0);
  if (all <= 0) return [];
  const byTime = routes.filter((route) => route.origin_seconds > 0).sort((a, b) => b.origin_seconds - a.origin_seconds);
  const named = byTime.slice(0, NAMED).map(({ route, origin_seconds }) => ({ name: route, share: origin_seconds / all }));
  const rest = byTime.slice(NAMED).reduce((sum, { origin_seconds }) => sum + origin_seconds, 0) / all;
  return rest === 0 ? named : [...named, { name: plural(byTime.length - NAMED, 'other', 'others'), share: rest }];
}

export interface MissReason {
  readonly reason: string;
  readonly share: number;
  readonly count: number;
  readonly says: string;
  readonly remedy: string | null;
}

/** Reasons of what was not a hit and cost the origin something, the commonest first. */
const FREE = ['hit', 'shared', 'collapsed', 'stale-while-revalidate', 'stale-if-error', 'soft-timeout', 'max-stale'];

const FEW = 20;

export function missReasons({ reasons }: Route): readonly MissReason[] {
  const costly = reasons.filter(([reason, count]) => count > 0 && !FREE.includes(reason));
  const all = costly.reduce((sum, [, count]) => sum + count, 0);
  return costly
    .toSorted(([, one], [, other]) => other - one)
    .map(([reason, count]) => {
      const { because, remedy } = reasonWords(reason);
      // What has come a few times is no habit.
      const mend = reason === 'uri-miss' && count < FEW ? null : remedy;
      return { reason, share: count / all, count, says: `${percent(count / all)} because ${because}.`, remedy: mend };
    });
}

/** From so many on it is what one must know first. */
const WORTH = 0.01;

/** Of all its readers, those who got an error that was the origin’s doing. */
export function errorShare({ requests, reader_errors }: Route): number {
  return reader_errors / Math.max(1, requestsOf(requests));
}

/** Those of which readers got errors, the most first. */
export function failing(routes: readonly Route[]): readonly Route[] {
  return routes.filter((route) => errorShare(route) >= WORTH).toSorted((a, b) => b.reader_errors - a.reader_errors);
}

/** The one sentence about a route: why it is not better. */
export function mainReason(route: Route): string {
  if (!route.is_cached) return 'not cached: a rule says so';
  const failing = errorShare(route);
  if (failing >= WORTH) return `${percent(failing)} got an error`;
  const first = missReasons(route)[0];
  return first === undefined ? '' : first.says.replace(/\.$/, '');
}
