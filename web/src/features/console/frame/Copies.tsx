// Entries that are one page but for a parameter of the query: nothing where there are few.
import { useQuery } from '@tanstack/react-query';
import { cutLong } from '../../../ui/cutLong';
import { wholeNumber } from '../../../ui/format';
import { Words } from '../../../ui/Words';
import { again } from '../api/again';
import { useApi } from '../api/ApiContext';
import { fetchCopies } from '../api/copies';
import { useLive } from '../live/useLive';
import { hrefOf } from '../place';
import { copiesWords, isWorthTelling } from '../words/copies';
import './Copies.css';

interface Props {
  /** Only of this one; empty: of all. */
  readonly route: string;
}

const MOST = 3;
/** A server goes over ten thousand entries for it. */
const EVERY_MS = 10_000;

export function Copies({ route }: Props) {
  const api = useApi();
  // An older server does not tell it, and then there is nothing to say.
  const { data } = useQuery({
    // What was told before a purge is no more: it is asked for anew, and never shown from an earlier visit.
    queryKey: ['copies', route, useLive().purges[0]?.id ?? null],
    queryFn: ({ signal }) => fetchCopies(api, route, signal),
    refetchInterval: again(EVERY_MS),
    gcTime: 0,
  });
  const worth = (data?.copies ?? []).filter(isWorthTelling).slice(0, MOST);
  if (data === undefined || worth.length === 0) return null;
  return (
    <section className="copies" aria-label="Stored more than once">
      <h3>Stored more than once</h3>
      <ul className="plain-list">
        {worth.map((copies) => {
          const { says, remedy } = copiesWords(copies);
          return (
            <li key={`${copies.parameter} ${copies.most.page}`}>
              <p className="figures">
                <Words text={says} />{' '}
                <a href={hrefOf('entries', { part: copies.most.page, order: 'key' })} className="mono breaks" title={copies.most.page}>
                  {cutLong(copies.most.page)?.cut ?? copies.most.page}
                </a>
              </p>
              <p className="remedy">
                <Words text={remedy} />
              </p>
            </li>
          );
        })}
      </ul>
      {data.looked_at >= data.total ? null : (
        <p className="soft">Looked at are the {wholeNumber(data.looked_at)} entries that weigh most.</p>
      )}
    </section>
  );
}
