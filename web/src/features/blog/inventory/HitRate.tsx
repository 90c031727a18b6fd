// The share of look-ups that the cache answered at once, as a number and as a bar.
import type { CacheStats } from '../api';
import { percent } from '../../../ui/format';
import './HitRate.css';

interface Props {
  /** Not known yet. */
  readonly stats: CacheStats | null;
  /** From before a lost connection. */
  readonly isOld: boolean;
}

export function HitRate({ stats, isOld }: Props) {
  const rate = stats?.hit_rate ?? null;
  return (
    <div className={isOld ? 'hit-rate hit-rate-old' : 'hit-rate'}>
      <dl className="figures">
        <dt>Hit rate</dt>
        <dd>{rate === null ? '–' : percent(rate)}</dd>
      </dl>
      {/* The counters below say the same. */}
      <div className="hit-rate-bar" aria-hidden="true">
        {PARTS.map(({ name, of }) => {
          const share = stats === null ? 0 : of(stats);
          return share === 0 ? null : <span key={name} className={`hit-rate-${name}`} style={{ flexGrow: share }} />;
        })}
      </div>
      <p>Hits ÷ (hits + misses). A stale copy counts as a hit, waiting for another’s call as a miss.</p>
    </div>
  );
}

const PARTS: readonly { readonly name: string; readonly of: (stats: CacheStats) => number }[] = [
  { name: 'hits', of: ({ hits }) => hits },
  { name: 'stale', of: ({ stale_served }) => stale_served },
  { name: 'misses', of: ({ misses }) => misses },
];
