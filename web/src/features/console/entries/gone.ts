// Which of the keys that went are looked at, as the address has it, and what is said of them.
import type { GoneChoice, GoneKey } from '../api/gone';

export const CAUSES = ['purged', 'evicted', 'expired', 'replaced', 'taken'] as const;
export type Cause = (typeof CAUSES)[number];

const CAUSE_WORDS: Readonly<Record<Cause, string>> = {
  purged: 'purged',
  evicted: 'evicted: others needed its room',
  expired: 'expired: too old for all uses',
  replaced: 'replaced by an answer that is not stored',
  taken: 'taken by the application',
};

/** A word that a newer server has is shown as it is. */
export function causeWords(cause: string): string {
  const known = CAUSES.find((word) => word === cause);
  return known === undefined ? cause : CAUSE_WORDS[known];
}

export interface GoneSelection extends GoneChoice {
  /** Only this cause; empty: all. */
  readonly cause: Cause | '';
  /** Only what this purge has ended, as receipts name it (`tag post:1`); empty: all. */
  readonly by: string;
}

export function readGone(query: URLSearchParams): GoneSelection {
  return {
    key: query.get('key') ?? '',
    prefix: query.get('prefix') ?? '',
    cache: query.get('cache') ?? '',
    cause: CAUSES.find((cause) => cause === query.get('cause')) ?? '',
    by: query.get('by') ?? '',
  };
}

/** The server chooses by key, prefix and cache; the rest is chosen among what it tells. */
export function chosenOf(gone: readonly GoneKey[], { cause, by }: Pick<GoneSelection, 'cause' | 'by'>): readonly GoneKey[] {
  return gone.filter((one) => (cause === '' || one.cause === cause) && (by === '' || one.purge?.what === by));
}

/** How many of each cause, the most first; words that are not known among them. */
export function countsOf(gone: readonly GoneKey[]): readonly (readonly [cause: string, count: number])[] {
  const counts = new Map<string, number>();
  for (const { cause } of gone) counts.set(cause, (counts.get(cause) ?? 0) + 1);
  return [...counts].toSorted(([, one], [, other]) => other - one);
}

/** Why there is nothing to show. */
export function noneWords({ key, prefix, cause, by }: GoneSelection): string {
  if (key !== '') {
    return 'That this key went is not remembered. It may still be stored, or never have been: ask in Explain. What a soft purge has marked, and what a purge by tag has ended, lies in memory until its room is needed.';
  }
  if (by !== '') {
    return 'Nothing that is remembered went by this purge. A soft one takes nothing out: what it names becomes stale. What a purge by tag has ended lies in memory, served to nobody, until its room is needed.';
  }
  if (prefix !== '' || cause !== '') return 'Nothing that went lately fits that.';
  return 'Nothing went lately: no key was purged for good, evicted, or so old that it had to go.';
}
