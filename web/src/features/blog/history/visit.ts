// The loads of this visit, each counted once, the last few kept for the chart, and what they are measured by.
import type { Measure } from '../../../wire/ask';
import { markOf } from '../verdict/mark';
import type { Ending } from '../verdict/mark';

export interface Load extends Measure {
  /** Counts from 1 through the whole visit, also past those that are kept. */
  readonly number: number;
  readonly postId: number;
  readonly ending: Ending;
  readonly at: Date;
}

/** Oldest first. */
export type Visit = readonly Load[];

export const KEPT_LOADS = 30;

export function withLoad(visit: Visit, load: Omit<Load, 'number'>): Visit {
  const number = (visit.at(-1)?.number ?? 0) + 1;
  const grown = [...visit, { ...load, number }];
  if (grown.length <= KEPT_LOADS) return grown;
  const pinned = pinnedOf(grown);
  const oldest = grown.findIndex((kept) => !pinned.includes(kept));
  return grown.toSpliced(oldest, 1);
}

/** The first load that waited for the posts service, with the cache and without it: these stay, for contrast. */
function pinnedOf(visit: Visit): Visit {
  return visit.filter((load) => load === firstOf(visit, 'miss') || load === firstOf(visit, 'bypass'));
}

function firstOf(visit: Visit, wanted: 'miss' | 'bypass'): Load | undefined {
  return visit.find(({ ending, verdict }) => markOf(ending, verdict) === wanted);
}

/** The first load that waited for the posts service, if there was one: what the others are measured by. */
export function slowestToCompare(visit: Visit): Load | undefined {
  return firstOf(visit, 'miss') ?? firstOf(visit, 'bypass');
}

/** How many times as fast as that the latest load was, if it came from the cache. */
export function gainOf(visit: Visit): number | null {
  const [slow, latest] = [slowestToCompare(visit), visit.at(-1)];
  if (slow === undefined || latest === undefined || latest.ms <= 0) return null;
  const mark = markOf(latest.ending, latest.verdict);
  return mark === 'hit' || mark === 'shared' || mark === 'stale' ? slow.ms / latest.ms : null;
}
