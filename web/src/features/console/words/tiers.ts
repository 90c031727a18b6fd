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

export function tierWords(state: string): TierWords {
  return WORDS[state] ?? { word: state, mark: 'unsaid', isOver: false };
}
