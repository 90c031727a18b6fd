// Where in its life an entry is, in a few words.
import { span } from '../../../ui/format';
import type { Freshness } from '../api/entries';

export function freshnessWords({ state, fresh_for_seconds: left }: Freshness): string {
  const by = left === null ? '' : ` ${span(Math.abs(Math.round(left)))}`;
  switch (state) {
    case 'fresh':
      return left === null ? 'fresh' : `fresh for${by}`;
    case 'stale-usable':
      return left === null ? 'stale' : `stale since${by}`;
    case 'rescue':
      return left === null ? 'rescue only' : `rescue only, stale since${by}`;
    case 'over':
      return left === null ? 'expired' : `expired${by} ago`;
    case 'purged':
      return 'purged: stale';
  }
}
