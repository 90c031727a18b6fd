// Geometry of the bar that says for how long an entry is of use: fresh, then stale but usable, then a rescue.
import type { Freshness } from '../api/entries';

export type PartName = 'fresh' | 'stale-usable' | 'rescue';

export interface BarPart {
  readonly name: PartName;
  readonly seconds: number;
  /** Of the bar's width. */
  readonly share: number;
}

export interface Bar {
  readonly parts: readonly BarPart[];
  /** Where it is now, from 0 to 1; 1 also for what is over. */
  readonly at: number;
}

/** A part that is there is to be seen, however short it is beside the others. */
const LEAST_SHARE = 0.12;

/** `null`: nothing is known of its times. */
export function barOf(freshness: Freshness): Bar | null {
  const { age_seconds: age, fresh_for_seconds: left, stale_while_revalidate_seconds: usable } = freshness;
  if (left === null) return null;
  const fresh = Math.max(0, age + left);
  // Both begin when freshness ends; a rescue is what is longer than plain use.
  const rescue = Math.max(0, freshness.stale_if_error_seconds - usable);
  const lengths = [
    { name: 'fresh', seconds: fresh },
    { name: 'stale-usable', seconds: usable },
    { name: 'rescue', seconds: rescue },
  ] as const;
  const there = lengths.filter(({ seconds }) => seconds > 0);
  if (there.length === 0) return { parts: [], at: 1 };
  const all = there.reduce((sum, { seconds }) => sum + seconds, 0);
  const widened = there.map((part) => ({ ...part, share: Math.max(LEAST_SHARE, part.seconds / all) }));
  const width = widened.reduce((sum, { share }) => sum + share, 0);
  const parts = widened.map((part) => ({ ...part, share: part.share / width }));
  return { parts, at: placeOf(parts, age) };
}

/** Each part has a scale of its own. */
function placeOf(parts: readonly BarPart[], age: number): number {
  let passed = 0;
  let seconds = age;
  for (const part of parts) {
    if (seconds < part.seconds) return passed + (seconds / part.seconds) * part.share;
    passed += part.share;
    seconds -= part.seconds;
  }
  return 1;
}
