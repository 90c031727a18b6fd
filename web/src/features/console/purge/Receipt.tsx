// What came of a purge: how much it was, and how far each tier is, until all are done.
import { useQuery } from '@tanstack/react-query';
import { plural } from '../../../ui/format';
import { LongText } from '../../../ui/LongText';
import { useApi } from '../api/ApiContext';
import { fetchStory } from '../api/purges';
import type { Mode, Purged, Story, TierState } from '../api/purges';
import { isNotTold } from '../api/trouble';
import { TierList } from '../frame/TierList';
import { useLive } from '../live/useLive';
import { hrefOf } from '../place';
import { farWords, tierWords } from '../words/tiers';

interface Props {
  readonly purged: Purged;
  readonly mode: Mode;
  /** So many entries here it would touch, as was told beforehand. */
  readonly foreseen: number | null;
}

/** Events tell of each step; where they do not come, it is asked for, for as long as a CDN may take. */
const EVERY_MS = 2000;
const MOST_LOOKS = 60;

export function Receipt({ purged, mode, foreseen }: Props) {
  const api = useApi();
  const live = useLive();
  const { id } = purged;
  const told = live.purges.find((story) => story.id === id);
  const tiersHeard = told?.tiers ?? purged.tiers ?? tiersOfReceipts(purged);
  const looked = useQuery({
    queryKey: ['purge', id],
    enabled: id !== null && purged.tiers !== null && tiersHeard !== null && !isOver(tiersHeard),
    queryFn: ({ signal }) => fetchStory(api, id ?? '', signal),
    refetchInterval: ({ state }) => {
      const isDone = state.data !== undefined && isOver(state.data.tiers);
      const looks = state.dataUpdateCount + state.errorUpdateCount;
      return isDone || isNotTold(state.error) || looks >= MOST_LOOKS ? false : EVERY_MS;
    },
  });
  const tiers = tiersHeard !== null && isOver(tiersHeard) ? tiersHeard : (looked.data?.tiers ?? tiersHeard);
  const what = told?.what ?? purged.what ?? [];
  const meant = [...new Set([...purged.did_you_mean, ...purged.keys.flatMap((key) => key.did_you_mean)])];
  return (
    <section className="part receipt" aria-labelledby="receipt-title" role="status">
      <header className="part-head">
        <h2 id="receipt-title">
          Receipt{what.length === 0 ? '' : ': '}
          <span className="mono breaks">
            <LongText text={what.join(', ')} />
          </span>
        </h2>
        <p>
          {mode} <span className="mono">{id}</span>
        </p>
      </header>
      <p className="receipt-says">{says(purged, tiers, foreseen)}</p>
      {tiers === null ? null : <TierList tiers={tiers} />}
      {tiers !== null && tiers.shared === null && tiers.cdn.length === 0 ? <p className="soft">There are no other tiers here.</p> : null}
      {mode === 'soft' ? (
        <p className="soft">Nothing of it went: it is stale now, may be served once more while it is fetched anew, and still serves where the origin fails.</p>
      ) : (
        <p className="soft">
          <a href={hrefOf('entries', { show: 'gone', by: what.length === 1 ? (what[0] ?? null) : null })}>See what went by it</a>
        </p>
      )}
      {meant.length === 0 ? null : (
        <p className="soft breaks">
          Did you mean <span className="mono">{meant.join(', ')}</span>?
        </p>
      )}
    </section>
  );
}

/** Where no purge is remembered, all there is was told at once: of each tier the one that is least far. */
function tiersOfReceipts({ receipts }: Purged): Story['tiers'] | null {
  const leastFar = (name: string): TierState | null => {
    const all = receipts.flatMap(({ tiers }) => tiers).filter(({ tier }) => tier === name);
    return all.find(({ state }) => state === 'failed') ?? all.find((tier) => !tierWords(tier).isOver) ?? all[0] ?? null;
  };
  const memory = leastFar('memory');
  return memory === null ? null : { memory, shared: leastFar('shared'), cdn: [] };
}

function isOver({ memory, shared, cdn }: Story['tiers']): boolean {
  return [memory, ...(shared === null ? [] : [shared]), ...cdn].every((tier) => tierWords(tier).isOver);
}

function says({ purged }: Purged, tiers: Story['tiers'] | null, foreseen: number | null): string {
  const held = foreseen === null || foreseen === 0 ? '' : ` (${plural(foreseen, 'entry', 'entries')} in memory)`;
  const count = purged === null ? `Purged${held}` : `${plural(purged, 'entry', 'entries')} purged`;
  if (tiers === null) return `${count}.`;
  return `${count}${farWords([tiers.memory, ...(tiers.shared === null ? [] : [tiers.shared]), ...tiers.cdn])}`;
}
