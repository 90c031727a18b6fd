// One entry: its life as a bar, its variants' heads, the beginning of a body, and the ways to purge it.
import { useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { bytes, plural, span } from '../../../ui/format';
import { LongText } from '../../../ui/LongText';
import { Segments } from '../../../ui/Segments';
import { useApi } from '../api/ApiContext';
import { fetchBody, fetchEntry } from '../api/entries';
import type { Body as StoredBody, OpenEntry, Variant } from '../api/entries';
import { Loaded } from '../frame/Loaded';
import { hrefOf } from '../place';
import { useDetail } from '../frame/useDetail';
import { FreshnessBar } from './FreshnessBar';
import { PurgeEntry } from './PurgeEntry';
import './EntryDetail.css';

interface Props {
  readonly entryKey: string;
  readonly closeHref: string;
}

export function EntryDetail({ entryKey, closeHref }: Props) {
  const api = useApi();
  const headRef = useDetail(closeHref);
  const entry = useQuery({ queryKey: ['entry', entryKey], queryFn: ({ signal }) => fetchEntry(api, entryKey, signal) });
  return (
    <section className="part entry-detail" aria-labelledby="entry-title">
      <header className="part-head">
        <h2 id="entry-title" className="mono breaks" tabIndex={-1} ref={headRef}>
          <LongText text={entryKey} />
        </h2>
        <p>
          <a href={closeHref}>Close</a>
        </p>
      </header>
      <Loaded query={entry} what="this entry: it may be gone">
        {(told) => <Told entry={told} onPurged={() => void entry.refetch()} />}
      </Loaded>
      {entry.error === null ? null : (
        <p className="soft">
          <a href={hrefOf('entries', { show: 'gone', key: entryKey })}>See whether it went lately, and why</a>
        </p>
      )}
    </section>
  );
}

interface ToldProps {
  readonly entry: OpenEntry;
  readonly onPurged: () => void;
}

function Told({ entry, onPurged }: ToldProps) {
  const [chosen, setChosen] = useState('0');
  const variant = entry.variants_held[Number(chosen)];
  return (
    <>
      <FreshnessBar freshness={entry} isLarge />
      <dl className="entry-facts figures">
        <div>
          <dt>Size</dt>
          <dd>{bytes(entry.bytes)}</dd>
        </div>
        <div>
          <dt>Age</dt>
          <dd>{span(Math.round(entry.age_seconds))}</dd>
        </div>
        <div>
          <dt>To fetch</dt>
          <dd>{entry.cost_seconds === null ? '–' : span(entry.cost_seconds)}</dd>
        </div>
        <div>
          <dt>Read</dt>
          <dd>{entry.heat ?? '–'}</dd>
        </div>
      </dl>
      {entry.route === null ? null : (
        <p className="soft">
          Route{' '}
          <a href={hrefOf('routes', { open: entry.route })} className="mono">
            {entry.route}
          </a>
        </p>
      )}
      {entry.tags.length === 0 ? null : (
        <p className="soft breaks">
          Tags:{' '}
          {entry.tags.map((tag) => (
            <a key={tag} href={hrefOf('entries', { tag })} className="mono entry-tag">
              {tag}
            </a>
          ))}
        </p>
      )}
      <PurgeEntry entryKey={entry.key} cache={entry.cache} onPurged={onPurged} />
      {entry.key.includes('://') ? (
        <p className="soft">
          <a href={hrefOf('explain', { url: entry.key })}>Explain a request for it</a>
        </p>
      ) : null}

      {entry.variants_held.length > 1 ? (
        <Segments
          label={plural(entry.variants_held.length, 'variant', 'variants')}
          options={entry.variants_held.map(({ differs_by }, at) => ({ value: String(at), name: differenceOf(differs_by, at) }))}
          value={chosen}
          onChoose={setChosen}
        />
      ) : null}
      {variant === undefined ? null : (
        <>
          <h3>
            Head <span className="soft">status {variant.status}</span>
          </h3>
          {variant.differs_by.length === 0 ? null : (
            <p className="soft">Stored for {variant.differs_by.map(([name, value]) => (value === null ? `requests without ${name}` : `${name}: ${value}`)).join(', ')}.</p>
          )}
          <dl className="entry-head mono">
            {variant.fields.map(([name, value], at) => (
              <div key={at}>
                <dt>{name}</dt>
                <dd>{value}</dd>
              </div>
            ))}
          </dl>
          <Body entryKey={entry.key} variant={Number(chosen)} bodyBytes={variant.body_bytes} type={typeOf(variant)} />
        </>
      )}
    </>
  );
}

function differenceOf(differs: readonly (readonly [string, string | null])[], at: number): string {
  return differs.length === 0 ? `${at + 1}` : differs.map(([name, value]) => value ?? `no ${name}`).join(', ');
}

function typeOf({ fields }: Variant): string | null {
  return fields.find(([name]) => name === 'content-type')?.[1].replace(/;.*/, '') ?? null;
}

interface BodyProps {
  readonly entryKey: string;
  readonly variant: number;
  readonly bodyBytes: number;
  /** Its `Content-Type`. */
  readonly type: string | null;
}

function Body({ entryKey, variant, bodyBytes, type }: BodyProps) {
  const api = useApi();
  const body = useQuery({
    queryKey: ['entry-body', entryKey, variant],
    queryFn: ({ signal }) => fetchBody(api, entryKey, variant, signal),
  });
  return (
    <>
      <h3>
        Body <span className="soft">{bytes(bodyBytes)}; its beginning, as text</span>
      </h3>
      <Loaded query={body} what="bodies">
        {(told) => <Beginning body={told} type={type} />}
      </Loaded>
    </>
  );
}

interface BeginningProps {
  readonly body: StoredBody;
  readonly type: string | null;
}

function Beginning({ body: { text, isBinary, coding, isDecoded }, type }: BeginningProps) {
  if (text === '') return <p className="soft">It is empty.</p>;
  const ofType = type === null ? '' : ` (${type})`;
  if (isBinary) {
    return (
      <p className="soft">
        {coding !== null && !isDecoded
          ? `It lies here in the coding ${coding}, which is not undone here: there is no text to show.`
          : `It is binary${ofType}: there is no text to show.`}
      </p>
    );
  }
  return (
    <>
      {coding === null ? null : (
        <p className="soft">{isDecoded ? `Stored in ${coding}; this is what it says.` : `Stored in ${coding}, as it is.`}</p>
      )}
      <pre className="entry-body" {...SCROLLABLE}>
        {text}
      </pre>
    </>
  );
}

/** A box that scrolls is reached by the keyboard. */
const SCROLLABLE = { tabIndex: 0, role: 'region', 'aria-label': 'The body’s beginning' } as const;
