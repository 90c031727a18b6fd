// What went lately: which keys left memory, why, when, and by which purge.
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { clockTime, plural, wholeNumber } from '../../../ui/format';
import { LongText } from '../../../ui/LongText';
import { Picker } from '../../../ui/Picker';
import { useApi } from '../api/ApiContext';
import { fetchGone, MOST_GONE } from '../api/gone';
import type { GoneKeys } from '../api/gone';
import { Loaded } from '../frame/Loaded';
import { useLive } from '../live/useLive';
import { go, hrefOf } from '../place';
import { CAUSES, chosenOf, countsOf, noneWords, readGone } from './gone';
import type { GoneSelection } from './gone';
import { GoneTable } from './GoneTable';
import { Typed } from './Typed';
import './GoneView.css';

interface Props {
  readonly query: URLSearchParams;
}

const CAUSE_OPTIONS = [{ value: '', name: 'any' } as const, ...CAUSES.map((value) => ({ value, name: value }))];

export function GoneView({ query }: Props) {
  const api = useApi();
  const { stats } = useLive();
  const selection = readGone(query);
  const { key, prefix, cache } = selection;
  const asked = useQuery({
    queryKey: ['gone', key, prefix, cache],
    queryFn: ({ signal }) => fetchGone(api, { key, prefix, cache }, signal),
    placeholderData: keepPreviousData,
  });
  const hrefTo = (changes: Readonly<Record<string, string | null>>) =>
    hrefOf('entries', { show: 'gone', ...selection, ...changes });
  const change = (changes: Readonly<Record<string, string>>) => go(hrefTo(changes), 'replace');
  const caches = stats?.caches.map(({ name }) => name) ?? [];

  return (
    <section className="part gone" aria-labelledby="gone-title">
      <header className="part-head">
        <h2 id="gone-title">What went lately</h2>
        <p className="figures">
          {asked.data === undefined ? '' : `as of ${clockTime(new Date(asked.dataUpdatedAt))} `}
          <button type="button" className="link-button" onClick={() => void asked.refetch()}>
            Look again
          </button>
        </p>
      </header>
      {key === '' ? null : (
        <p className="gone-only breaks">
          Only{' '}
          <span className="mono">
            <LongText text={key} />
          </span>
          , the last time that it went. <a href={hrefTo({ key: null })}>All keys</a>
        </p>
      )}
      {selection.by === '' ? null : (
        <p className="gone-only breaks">
          Only what went by{' '}
          <span className="mono">
            <LongText text={selection.by} />
          </span>
          . <a href={hrefTo({ by: null })}>Whatever it went by</a>
        </p>
      )}
      <div className="gone-find">
        {key === '' ? (
          <Typed label="Begins with" value={prefix} onChange={(next) => change({ prefix: next })} placeholder="https://…" />
        ) : null}
        <Picker label="Why" options={CAUSE_OPTIONS} value={selection.cause} onChoose={(cause) => change({ cause })} />
        {caches.length > 1 ? (
          <Picker
            label="Cache"
            options={[{ value: '', name: 'all' }, ...caches.map((value) => ({ value, name: value }))]}
            value={cache}
            onChoose={(next) => change({ cache: next })}
          />
        ) : null}
      </div>
      <Loaded query={asked} what="what went lately">
        {(told) => <Told told={told} selection={selection} asOf={asked.dataUpdatedAt} byHref={(by) => hrefTo({ by })} />}
      </Loaded>
    </section>
  );
}

interface ToldProps {
  readonly told: GoneKeys;
  readonly selection: GoneSelection;
  /** In milliseconds since 1970. */
  readonly asOf: number;
  readonly byHref: (by: string) => string;
}

function Told({ told: { gone, left_out }, selection, asOf, byHref }: ToldProps) {
  const chosen = chosenOf(gone, selection);
  return (
    <>
      {chosen.length === 0 ? (
        <p className="soft gone-none">{noneWords(selection)}</p>
      ) : (
        <>
          <p className="soft figures" role="status">
            {plural(chosen.length, 'key', 'keys')}:{' '}
            {countsOf(chosen)
              .map(([cause, count]) => `${wholeNumber(count)} ${cause}`)
              .join(', ')}
            .
          </p>
          <GoneTable gone={chosen} asOf={asOf} byHref={byHref} />
        </>
      )}
      {gone.length < MOST_GONE ? null : (
        <p className="soft">Looked at are the last {wholeNumber(MOST_GONE)}. Say how the keys begin to see older ones.</p>
      )}
      {left_out === 0 ? null : (
        <p className="soft">{plural(left_out, 'key', 'keys')} more went too fast to be written down.</p>
      )}
    </>
  );
}
