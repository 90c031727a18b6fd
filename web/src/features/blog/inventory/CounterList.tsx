// The counters as a list of terms. Numbers from before a lost connection stay, shown as old.
import type { ReactNode } from 'react';
import type { CacheStats } from '../api';
import type { CountersView } from './counters';
import { bytes, wholeNumber } from '../../../ui/format';
import { HitRate } from './HitRate';

interface Props {
  readonly view: CountersView;
}

export function CounterList({ view }: Props) {
  if (view.kind === 'nothing-counted') {
    return <p className="instrument-text">The console counts no cache for posts.</p>;
  }
  const stats = view.kind === 'live' ? view.stats : view.kind === 'connecting' ? null : view.last;
  return (
    <>
      <HitRate stats={stats} isOld={view.kind !== 'live'} />
      <dl className={view.kind === 'live' ? 'facts counters figures' : 'facts counters facts-old figures'}>
      {COUNTERS.filter(({ name }) => name !== SHARED || (stats !== null && isUsed(stats.lower))).map(({ name, of }) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{stats === null ? '–' : of(stats)}</dd>
        </div>
      ))}
      </dl>
    </>
  );
}

/** Only where there is something that several backends share. */
const SHARED = 'Shared';

function isUsed({ hits, misses }: CacheStats['lower']): boolean {
  return hits + misses > 0;
}

const COUNTERS: readonly { readonly name: string; readonly of: (stats: CacheStats) => ReactNode }[] = [
  { name: 'Hits', of: ({ hits }) => wholeNumber(hits) },
  { name: 'Stale', of: ({ stale_served }) => wholeNumber(stale_served) },
  { name: 'Misses', of: ({ misses }) => wholeNumber(misses) },
  { name: SHARED, of: ({ lower }) => wholeNumber(lower.hits) },
  { name: 'Fetches', of: ({ fetches }) => wholeNumber(fetches) },
  { name: 'Collapsed', of: ({ collapsed }) => wholeNumber(collapsed) },
  { name: 'Entries', of: ({ entries }) => wholeNumber(entries) },
  {
    name: 'Held',
    of: (stats) => (
      <>
        {bytes(stats.bytes)} <small>of {bytes(stats.max_bytes)}</small>
      </>
    ),
  },
];
