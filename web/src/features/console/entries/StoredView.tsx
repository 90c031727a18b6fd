// What is stored: what fills the memory, all of it in an order, and each of it opened.
import { ActionButton } from '../../../ui/ActionButton';
import { clockTime, plural, wholeNumber } from '../../../ui/format';
import { Notice } from '../../../ui/Notice';
import { Picker } from '../../../ui/Picker';
import { ORDERS } from '../api/entries';
import type { EntriesPage } from '../api/entries';
import { isNotTold, problemOf } from '../api/trouble';
import { Copies } from '../frame/Copies';
import { go, hrefOf } from '../place';
import { EntryDetail } from './EntryDetail';
import { EntryTable } from './EntryTable';
import { Filling } from './Filling';
import { ORDER_NAMES, readSelection } from './selection';
import { Typed } from './Typed';
import { MOST_ROWS, useEntries } from './useEntries';
import type { EntriesTold } from './useEntries';
import './StoredView.css';

interface Props {
  readonly query: URLSearchParams;
}

const ORDER_OPTIONS = ORDERS.map((value) => ({ value, name: ORDER_NAMES[value] }));

export function StoredView({ query }: Props) {
  const selection = readSelection(query);
  const open = query.get('key');
  const { query: asked, told, more } = useEntries(selection);
  const hrefTo = (changes: Readonly<Record<string, string | null>>) =>
    hrefOf('entries', { ...selection, key: open, ...changes });
  const change = (changes: Readonly<Record<string, string>>) => go(hrefTo(changes), 'replace');
  const isNarrowed = selection.part !== '' || selection.tag !== '' || selection.route !== '';

  return (
    <>
      {/* Whoever has opened an entry wants to see that. */}
      {open === null ? (
        <>
          <Filling hrefTo={(changes) => hrefOf('entries', { order: 'bytes', ...changes })} />
          <Copies route={selection.route} />
        </>
      ) : null}
      <div className={open === null ? 'entries' : 'entries entries-split'}>
        {open === null ? null : <EntryDetail key={open} entryKey={open} closeHref={hrefTo({ key: null })} />}
        <section className="part entries-list" aria-labelledby="entries-title">
          <header className="part-head">
            <h2 id="entries-title">{titleOf(told?.first ?? null, isNarrowed)}</h2>
            <p className="figures">
              <span role="status">{orderedOf(told)}</span>
              <button type="button" className="link-button" onClick={() => void asked.refetch()}>
                Look again
              </button>
            </p>
          </header>
          <div className="entries-find">
            <Typed label="Key contains" value={selection.part} onChange={(part) => change({ part })} placeholder="/posts/" />
            <Typed label="Tag" value={selection.tag} onChange={(tag) => change({ tag })} placeholder="front-page" />
            <Typed label="Route" value={selection.route} onChange={(route) => change({ route })} placeholder="/posts/{id}" />
            <Picker label="Order" options={ORDER_OPTIONS} value={selection.order} onChoose={(order) => change({ order })} />
          </div>
          {told === undefined ? (
            <Untold error={asked.error} isFetching={asked.isFetching} onAgain={() => void asked.refetch()} />
          ) : told.entries.length === 0 ? (
            <p className="soft">{!told.first.is_complete ? 'None so far.' : isNarrowed ? 'Nothing stored fits that.' : 'Nothing is stored.'}</p>
          ) : (
            <>
              <EntryTable entries={told.entries} total={told.first.total} open={open} hrefTo={(key) => hrefTo({ key })} onNearEnd={more} />
              {told.isCut ? (
                <p className="soft">These are the first {wholeNumber(MOST_ROWS)}. Say more exactly what you are looking for.</p>
              ) : null}
            </>
          )}
        </section>
      </div>
    </>
  );
}

function titleOf(first: EntriesPage | null, isNarrowed: boolean): string {
  const total = first?.total ?? null;
  if (first === null || total === null) return 'Entries';
  const told = `${plural(total, 'entry', 'entries')}${isNarrowed ? (total === 1 ? ' fits' : ' fit') : ''}`;
  return first.is_complete ? told : `${told} so far`;
}

function orderedOf(told: EntriesTold | undefined): string {
  if (told?.first.is_complete === false) return 'looking at all of them… ';
  const at = told?.first.snapshot_at ?? null;
  return at === null ? '' : `ordered at ${clockTime(at)} `;
}

interface UntoldProps {
  readonly error: Error | null;
  readonly isFetching: boolean;
  readonly onAgain: () => void;
}

function Untold({ error, isFetching, onAgain }: UntoldProps) {
  if (error === null || isFetching) return <p className="soft">On its way…</p>;
  const problem = problemOf(error, 'what it stores');
  if (isNotTold(error)) {
    return (
      <p className="soft">
        {problem.title}. {problem.advice}
      </p>
    );
  }
  return (
    <Notice {...problem}>
      <ActionButton rank="main" onPress={onAgain}>
        Try again
      </ActionButton>
    </Notice>
  );
}
