// The one sign for how a load ended: the same word, shape and colour in badge, chart and table.
import type { Mark } from '../../../ui/mark';
import type { Verdict } from '../../../wire/cacheStatus';

export const MARK_NAMES: Readonly<Record<Mark, string>> = {
  hit: 'HIT',
  shared: 'SHARED',
  stale: 'STALE',
  miss: 'MISS',
  bypass: 'BYPASS',
  unsaid: 'NO WORD',
  failed: 'FAILED',
};

export type Ending = 'loaded' | 'failed';

export function markOf(ending: Ending, verdict: Verdict): Mark {
  return ending === 'failed' ? 'failed' : verdict.kind;
}
