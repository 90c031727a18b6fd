// What a view knows for when one comes back to it: in the memory of the page, and nowhere else.
import { createContext, useContext } from 'react';
import type { KeptExplain } from '../explain/keptExplain';

/** What each view has put there. */
export class Kept {
  #explain: KeptExplain | null = null;

  get explain(): KeptExplain | null {
    return this.#explain;
  }

  readonly keepExplain = (left: KeptExplain): void => {
    this.#explain = left;
  };
}

export const KeptContext = createContext<Kept | null>(null);

export function useKept(): Kept {
  const kept = useContext(KeptContext);
  if (kept === null) throw new Error('the console is outside its KeptContext');
  return kept;
}
