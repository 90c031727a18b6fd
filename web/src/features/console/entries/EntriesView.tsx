// Entries: what is stored, and beside it what was and went.
import { hrefOf } from '../place';
import { GoneView } from './GoneView';
import { StoredView } from './StoredView';
import './EntriesView.css';

interface Props {
  readonly query: URLSearchParams;
}

export function EntriesView({ query }: Props) {
  const isGone = query.get('show') === 'gone';
  return (
    <>
      <nav className="entries-parts" aria-label="Which entries">
        <a href={hrefOf('entries')} aria-current={isGone ? undefined : 'page'}>
          Stored
        </a>
        <a href={hrefOf('entries', { show: 'gone' })} aria-current={isGone ? 'page' : undefined}>
          What went lately
        </a>
      </nav>
      {isGone ? <GoneView query={query} /> : <StoredView query={query} />}
    </>
  );
}
