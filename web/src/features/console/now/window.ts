// A stretch of the last hour: which seconds it has, and what they come to.
import { VERDICTS } from '../api/samples';
import type { ByVerdict, Sample } from '../api/samples';

export const STRETCHES = [
  { value: '120', name: '2 min', seconds: 120 },
  { value: '600', name: '10 min', seconds: 600 },
  { value: '3600', name: '1 h', seconds: 3600 },
] as const;
export type Stretch = (typeof STRETCHES)[number]['value'];

export interface Sum extends ByVerdict {
  readonly seconds: number;
  readonly reader_errors: number;
  readonly origin_calls: number;
  readonly origin_seconds: number;
  readonly origin_failures: number;
  readonly saved_seconds: number;
  readonly evictions: number;
  readonly purges: number;
}

const SUMMED = [
  ...VERDICTS,
  'reader_errors',
  'origin_calls',
  'origin_seconds',
  'origin_failures',
  'saved_seconds',
  'evictions',
  'purges',
] as const;

/** Those after `end - seconds`, up to `end`. */
export function within(samples: readonly Sample[], end: number, seconds: number): readonly Sample[] {
  return samples.filter(({ second }) => second <= end && second > end - seconds);
}

/** Seconds of which nothing is known count for nothing. */
export function sumOf(samples: readonly Sample[]): Sum {
  const sums = new Map<(typeof SUMMED)[number], number>();
  for (const sample of samples) {
    for (const name of SUMMED) sums.set(name, (sums.get(name) ?? 0) + sample[name]);
  }
  const of = (name: (typeof SUMMED)[number]) => sums.get(name) ?? 0;
  return {
    seconds: samples.length,
    hit: of('hit'),
    stale: of('stale'),
    collapsed: of('collapsed'),
    miss: of('miss'),
    pass: of('pass'),
    refused: of('refused'),
    reader_errors: of('reader_errors'),
    origin_calls: of('origin_calls'),
    origin_seconds: of('origin_seconds'),
    origin_failures: of('origin_failures'),
    saved_seconds: of('saved_seconds'),
    evictions: of('evictions'),
    purges: of('purges'),
  };
}

export interface Column {
  /** Its first second. */
  readonly from: number;
  readonly seconds: number;
  /** Nothing is known of it where that has no second. */
  readonly sum: Sum;
}

/** So many columns a chart has, whatever it shows. */
export const COLUMNS = 120;

/** Always in the same places: a column keeps its seconds while time goes on. */
export function columnsOf(samples: readonly Sample[], end: number, seconds: number): readonly Column[] {
  const each = seconds / COLUMNS;
  const last = Math.floor(end / each);
  const parts = new Map<number, Sample[]>();
  for (const sample of samples) {
    const place = Math.floor(sample.second / each);
    if (place > last || place <= last - COLUMNS) continue;
    const part = parts.get(place);
    if (part === undefined) parts.set(place, [sample]);
    else part.push(sample);
  }
  return Array.from({ length: COLUMNS }, (_, at) => {
    const place = last - COLUMNS + 1 + at;
    return { from: place * each, seconds: each, sum: sumOf(parts.get(place) ?? []) };
  });
}
