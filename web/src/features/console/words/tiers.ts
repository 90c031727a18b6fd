// How far a tier is with a purge, in words.
import type { Mark } from '../../../ui/mark';

export interface TierWords {
  readonly word: string;
  readonly mark: Mark;
  /** Nothing more will come of it. */
  readonly isOver: boolean;
}

const WORDS: Readonly<Record<string, TierWords>> = {
  applied: { word: 'done', mark: 'hit', isOver: true },
  confirmed: { word: 'done', mark: 'hit', isOver: true },
  // Those who said nothing have not heard of the others for so long that they serve nothing older.
  lapsed: { word: 'done', mark: 'hit', isOver: true },
  queued: { word: 'waits to be told', mark: 'unsaid', isOver: false },
  sent: { word: 'told, not confirmed yet', mark: 'stale', isOver: false },
  failed: { word: 'failed', mark: 'failed', isOver: true },
};

/** It could not be reached, or did not take it, and is told again. */
const TRIED: TierWords = { word: 'not taken yet, tried again', mark: 'miss', isOver: false };

/** What a gateway says of a purge that goes on as it should. */
const NO_TROUBLE = 'too many purges waited';

interface Told {
  readonly state: string;
  readonly reason: string | null;
}

export function tierWords({ state, reason }: Told): TierWords {
  const words = WORDS[state] ?? { word: state, mark: 'unsaid', isOver: false };
  return isTriedAgain({ state, reason }) ? TRIED : words;
}

/** The last call failed. */
export function isTriedAgain({ state, reason }: Told): boolean {
  return (state === 'queued' || state === 'sent') && reason !== null && !reason.startsWith(NO_TROUBLE);
}

/** How far a purge is beyond memory, as a sentence's end: what has failed goes first. */
export function farWords(tiers: readonly Told[]): string {
  if (tiers.some(({ state }) => state === 'failed')) return ', but not everywhere.';
  if (tiers.every((tier) => tierWords(tier).isOver)) return ', everywhere.';
  return tiers.some(isTriedAgain) ? ' here; not every tier outside takes it yet.' : ' here; the tiers outside are on their way.';
}
