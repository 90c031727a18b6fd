// The loads of this visit, each counted once, the last few kept for the chart.
import type { Measure } from '../../../wire/ask';
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
  return [...visit, { ...load, number }].slice(-KEPT_LOADS);
}
