// One route: why it is not better and what would mend it, how long it takes, which of its keys cost most.
import { useQuery } from '@tanstack/react-query';
import { cutLong } from '../../../ui/cutLong';
import { bytes, percent, plural, span, wholeNumber } from '../../../ui/format';
import { MarkSign } from '../../../ui/MarkSign';
import { Words } from '../../../ui/Words';
import { useApi } from '../api/ApiContext';
import { fetchEntries } from '../api/entries';
import { countGone } from '../api/gone';
import type { Latency, Route } from '../api/routes';
import { requestsOf, VERDICTS } from '../api/samples';
import { Copies } from '../frame/Copies';
import { Loaded } from '../frame/Loaded';
import { useDetail } from '../frame/useDetail';
import { hrefOf } from '../place';
import { reasonWords } from '../words/reasons';
import { VERDICT_WORDS } from '../words/verdicts';
import { lifetimesSay } from './lifetimes';
import { missReasons } from './waste';
import './RouteDetail.css';

interface Props {
  readonly route: Route;
  readonly closeHref: string;
}

const MOST_KEYS = 10;

export function RouteDetail({ route, closeHref }: Props) {
  const headRef = useDetail(closeHref);
  const requests = requestsOf(route.requests);
  const reasons = missReasons(route);
  return (
    <section className="part route-detail" aria-labelledby="route-title">
      <header className="part-head">
        <h2 id="route-title" className="mono breaks" tabIndex={-1} ref={headRef}>
          {route.route}
        </h2>
        <p>
          <a href={closeHref}>Close</a>
        </p>
      </header>
      <p className="soft">
        {route.line === null ? '' : `${route.line}. `}
        {route.upstream === null ? '' : `Answered by ${route.upstream}. `}
        {route.is_cached ? '' : 'Nothing of it is stored: its rules say so. '}
        {route.route === 'otherwise' ? 'What fits no route of the file. ' : ''}
      </p>

      <h3>Why it is not a hit</h3>
      {reasons.length === 0 ? (
        <p className="soft">{requests === 0 ? 'Nobody has asked.' : 'It always was, as far as is known.'}</p>
      ) : (
        <ul className="plain-list reasons">
          {reasons.map(({ reason, share, count, says, remedy }) => (
            <li key={reason}>
              <i className="reasons-bar" aria-hidden="true" style={{ inlineSize: `${share * 100}%` }} />
              <p>
                {says} <span className="soft figures">{wholeNumber(count)}, {reason}</span>
              </p>
              {reason === 'expired' ? <Lifetimes route={route.route} /> : null}
              {remedy === null ? null : (
                <p className="remedy">
                  <Words text={remedy} />
                </p>
              )}
            </li>
          ))}
        </ul>
      )}

      <Went route={route.route} />

      <h3>What became of {plural(requests, 'request', 'requests')}</h3>
      <ul className="plain-list route-verdict-list figures">
        {VERDICTS.filter((verdict) => route.requests[verdict] > 0).map((verdict) => (
          <li key={verdict}>
            <MarkSign mark={VERDICT_WORDS[verdict].mark} /> {VERDICT_WORDS[verdict].name}{' '}
            <b>{wholeNumber(route.requests[verdict])}</b>{' '}
            <span className="soft">{percent(route.requests[verdict] / Math.max(1, requests))}</span>
          </li>
        ))}
      </ul>
      {route.reader_errors === 0 ? null : (
        <p className="figures">
          <MarkSign mark="failed" /> {plural(route.reader_errors, 'reader', 'readers')} got an error that was the origin’s doing (
          {percent(route.reader_errors / Math.max(1, requests))}): no answer in time, or one of 5xx. They are among the misses, the collapsed and
          the passed.
        </p>
      )}

      <h3>How long it takes, about</h3>
      <table className="table figures">
        <thead>
          <tr>
            <th scope="col">Until the answer began</th>
            <th scope="col" className="number">
              median
            </th>
            <th scope="col" className="number">
              95 of 100
            </th>
            <th scope="col" className="number">
              99 of 100
            </th>
          </tr>
        </thead>
        <tbody>
          <LatencyRow name="Hit" latency={route.hit_seconds} />
          <LatencyRow name="Miss" latency={route.miss_seconds} />
        </tbody>
      </table>
      <p className="soft route-costs">
        The origin was asked {plural(route.origin_calls, 'time', 'times')} and worked for {span(route.origin_seconds)}
        {route.origin_failures === 0 ? '' : ` (${wholeNumber(route.origin_failures)} of these calls failed)`};{' '}
        {span(route.saved_seconds)} were saved (what is stored counts until its last byte, calls until their answer began). {bytes(route.bytes)} in {plural(route.entries, 'entry', 'entries')} are held
        {route.max_bytes === null ? '' : ` of ${bytes(route.max_bytes)}`}.
        {route.waiting > 0 ? ` ${plural(route.waiting, 'request waits', 'requests wait')} for a turn.` : ''}
        {route.limited > 0 ? ` ${plural(route.limited, 'request was', 'requests were')} over a bound.` : ''}
      </p>

      <Copies route={route.route} />
      <Keys route={route.route} />
    </section>
  );
}

interface WentProps {
  readonly route: string;
}

/** Misses of what had been there: why it was not there any more. */
function Went({ route }: WentProps) {
  const api = useApi();
  const { data } = useQuery({
    queryKey: ['gone', 'of-route', route],
    queryFn: ({ signal }) => countGone(api, route, signal),
  });
  const counts = new Map(data ?? []);
  const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (all === 0) return null;
  const evicted = counts.get('evicted') ?? 0;
  const parts = [...counts].map(([cause, count]) => `${wholeNumber(count)} ${cause}`);
  return (
    <>
      <h3>What of it went lately</h3>
      <p className="soft figures">
        {plural(all, 'entry', 'entries')}: {parts.join(', ')}.{' '}
        {evicted > all / 2 ? 'The memory is too small for what is asked for here, however long it stays fresh: ' : ''}
        {evicted > all / 2 ? <Words text={reasonWords('evicted').remedy ?? ''} /> : null}{' '}
        <a href={hrefOf('entries', { show: 'gone' })}>What went lately</a>
      </p>
    </>
  );
}

interface LatencyProps {
  readonly name: string;
  readonly latency: Latency | null;
}

function LatencyRow({ name, latency }: LatencyProps) {
  return (
    <tr>
      <th scope="row">{name}</th>
      {(['p50', 'p95', 'p99'] as const).map((part) => (
        <td key={part} className="number">
          {latency === null ? '–' : span(latency[part])}
        </td>
      ))}
    </tr>
  );
}

interface KeysProps {
  readonly route: string;
}

/** What of it cost most to fetch. */
function useDearest(route: string) {
  const api = useApi();
  return useQuery({
    queryKey: ['entries', 'of-route', route],
    queryFn: ({ signal }) => fetchEntries(api, { part: '', tag: '', route, order: 'cost' }, null, MOST_KEYS, signal),
  });
}

/** For how long answers are fresh, by those that are stored: whoever chose it is to be found. */
function Lifetimes({ route }: KeysProps) {
  const { data } = useDearest(route);
  const says = lifetimesSay(data?.entries ?? []);
  return says === null ? null : <p className="figures">{says}</p>;
}

function Keys({ route }: KeysProps) {
  const keys = useDearest(route);
  return (
    <>
      <h3>
        What of it cost most to fetch <a href={hrefOf('entries', { route, order: 'cost' })}>All of them</a>
      </h3>
      <Loaded query={keys} what="what it stores">
        {({ entries }) =>
          entries.length === 0 ? (
            <p className="soft">Nothing of it is stored.</p>
          ) : (
            <ul className="plain-list rows">
              {entries.toSorted((one, other) => (other.cost_seconds ?? 0) - (one.cost_seconds ?? 0)).map((entry) => (
                <li key={`${entry.cache} ${entry.key}`} className="route-key figures">
                  <a href={hrefOf('entries', { route, order: 'cost', key: entry.key })} className="mono breaks" title={entry.key}>
                    {cutLong(entry.key)?.cut ?? entry.key}
                  </a>
                  <span className="soft">
                    {entry.cost_seconds === null ? '' : `${span(entry.cost_seconds)} to fetch, `}
                    {bytes(entry.bytes)}
                  </span>
                </li>
              ))}
            </ul>
          )
        }
      </Loaded>
    </>
  );
}
