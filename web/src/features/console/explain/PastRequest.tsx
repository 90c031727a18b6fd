// What has become of a request that was answered, by the id that its answer had in `Larder-Request`.
import { useQuery } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { clockTime, span } from '../../../ui/format';
import { LongText } from '../../../ui/LongText';
import { MarkSign } from '../../../ui/MarkSign';
import { Words } from '../../../ui/Words';
import { useApi } from '../api/ApiContext';
import { fetchPast } from '../api/explain';
import type { PastRequest as Told } from '../api/explain';
import { Loaded } from '../frame/Loaded';
import { hrefOf } from '../place';
import { reasonWords } from '../words/reasons';
import { VERDICT_WORDS, verdictOf } from '../words/verdicts';

interface Props {
  readonly id: string;
}

export function PastRequest({ id }: Props) {
  const api = useApi();
  const past = useQuery({ queryKey: ['past', id], queryFn: ({ signal }) => fetchPast(api, id, signal) });
  return (
    <section className="part" aria-labelledby="past-title">
      <header className="part-head">
        <h2 id="past-title">What became of it</h2>
        <p className="mono breaks">{id}</p>
      </header>
      <Loaded query={past} what="that request: it may be too long ago, and newer ones took its place">
        {(told) => <Answered told={told} />}
      </Loaded>
    </section>
  );
}

interface AnsweredProps {
  readonly told: Told;
}

function Answered({ told: { at, method, url, route, verdict, reason, says, status, seconds, origin_seconds, tier, trace_id } }: AnsweredProps) {
  const known = verdictOf(verdict);
  const mark = known === null ? 'unsaid' : VERDICT_WORDS[known].mark;
  // That nothing was stored is no fault by itself.
  const remedy = reason === 'uri-miss' || verdict === 'hit' ? null : reasonWords(reason).remedy;
  return (
    <>
      <p className={`explained-verdict mark-${mark}`}>
        <MarkSign mark={mark} /> {known === null ? verdict : VERDICT_WORDS[known].name}
        {reason === verdict ? null : <span className="soft"> {reason}</span>}
      </p>
      <p className="explained-says">{says}</p>
      {remedy === null ? null : (
        <p className="soft explained-remedy">
          <Words text={remedy} />
        </p>
      )}
      <ul className="tree">
        <Row name="Request">
          {method} <span className="mono breaks">
            <LongText text={url} />
          </span>{' '}
          {/* Values of a query are not kept, so such a request cannot be asked about again. */}
          {url.includes('…') || !url.includes('://') ? null : <a href={hrefOf('explain', { url })}>Explain it now</a>}
        </Row>
        <Row name="Route">
          <a href={hrefOf('routes', { open: route })} className="mono">
            {route}
          </a>
        </Row>
        <Row name="Answer">
          status {status}, from {tier === 'origin' ? 'the origin' : tier === 'shared' ? 'the shared tier' : tier}
          {at === null ? '' : `, at ${clockTime(at)}`}
        </Row>
        <Row name="Took">
          {span(seconds)}
          {origin_seconds === null ? '' : `, ${span(origin_seconds)} of it at the origin`}
        </Row>
        {trace_id === null ? null : (
          <Row name="Trace">
            <span className="mono breaks">{trace_id}</span>
          </Row>
        )}
      </ul>
    </>
  );
}

interface RowProps {
  readonly name: string;
  readonly children: ReactNode;
}

function Row({ name, children }: RowProps) {
  return (
    <li>
      <span className="tree-name">{name}</span>
      <div>{children}</div>
    </li>
  );
}
