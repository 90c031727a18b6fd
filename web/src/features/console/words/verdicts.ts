// What becomes of a request, in words and signs that are the same in every view.
import type { Mark } from '../../../ui/mark';
import type { Verdict } from '../api/samples';
import { VERDICTS } from '../api/samples';

interface Words {
  readonly name: string;
  readonly says: string;
  readonly mark: Mark;
}

export const VERDICT_WORDS: Readonly<Record<Verdict, Words>> = {
  hit: { name: 'Hit', says: 'Larder had it.', mark: 'hit' },
  stale: { name: 'Stale', says: 'Larder had an old copy, and that was good enough.', mark: 'stale' },
  collapsed: { name: 'Collapsed', says: 'It waited for the same answer as another request.', mark: 'shared' },
  miss: { name: 'Miss', says: 'The origin was asked: for an answer, or in vain.', mark: 'miss' },
  pass: { name: 'Pass', says: 'The cache stood aside, and the origin was asked.', mark: 'bypass' },
  refused: { name: 'Refused', says: 'It was not let through, or found no room: the origin was not asked.', mark: 'failed' },
};

/** `null` for a word that this console does not know. */
export function verdictOf(word: string): Verdict | null {
  return VERDICTS.find((known) => known === word) ?? null;
}
