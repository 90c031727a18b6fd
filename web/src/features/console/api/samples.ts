// What happened in each second: `/v1/history`, and `second` events.
import { amount, count, list, orElse, optional, shape } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';

export const sampleShape = shape({
  /** Unix time. */
  second: count,
  hit: count,
  stale: count,
  miss: count,
  collapsed: count,
  pass: count,
  refused: count,
  /** Of the hits, those that the shared tier answered. */
  shared_hits: orElse(count, 0),
  /** Of all but the hits, those whose reader got an error that was the origin’s doing. */
  reader_errors: orElse(count, 0),
  /** Of the origin's calls, those behind readers' backs. */
  refreshes: orElse(count, 0),
  origin_calls: count,
  origin_seconds: amount,
  origin_failures: count,
  saved_seconds: amount,
  entries: count,
  bytes: count,
  max_bytes: optional(count),
  evictions: count,
  purges: count,
});
export type Sample = Decoded<typeof sampleShape>;

export const historyShape = shape({ every_seconds: orElse(amount, 1), samples: list(sampleShape) });

/** What becomes of a finished request, in the order in which it is drawn. */
export const VERDICTS = ['hit', 'stale', 'collapsed', 'miss', 'pass', 'refused'] as const;
export type Verdict = (typeof VERDICTS)[number];

export type ByVerdict = Readonly<Record<Verdict, number>>;

export function requestsOf(counted: ByVerdict): number {
  return VERDICTS.reduce((sum, verdict) => sum + counted[verdict], 0);
}

/** Of all that the cache was there for, what did not cost a call of its own; `null` where there was nothing. */
export function hitRatioOf({ hit, stale, collapsed, miss }: ByVerdict): number | null {
  const served = hit + stale + collapsed;
  return served + miss === 0 ? null : served / (served + miss);
}
