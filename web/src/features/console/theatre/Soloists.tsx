// The last single requests that went on, as text: what each was, what became of it and why.
import { span } from '../../../ui/format';
import { MarkSign } from '../../../ui/MarkSign';
import type { PastRequest } from '../api/explain';
import { hrefOf } from '../place';
import { reasonWords } from '../words/reasons';
import { VERDICT_WORDS, verdictOf } from '../words/verdicts';
import { pathOf } from './soloists';
import './Soloists.css';

interface Props {
  /** The newest first. */
  readonly requests: readonly PastRequest[];
}

export const MOST_LISTED = 6;

export function Soloists({ requests }: Props) {
  return (
    <section className="soloists" aria-labelledby="soloists-title">
      <header className="part-head">
        <h2 id="soloists-title">The last that went on</h2>
      </header>
      <ol className="plain-list figures">
        {requests.map((request) => (
          <Line key={request.id} request={request} />
        ))}
      </ol>
    </section>
  );
}

interface LineProps {
  readonly request: PastRequest;
}

function Line({ request: { id, method, url, verdict, reason, seconds, origin_seconds } }: LineProps) {
  const known = verdictOf(verdict);
  const name = known === null ? verdict : VERDICT_WORDS[known].name;
  const { because } = reasonWords(reason);
  const isPlain = reason === verdict;
  return (
    <li>
      <MarkSign mark={known === null ? 'unsaid' : VERDICT_WORDS[known].mark} />
      <a href={hrefOf('explain', { request: id })} className="mono soloists-what" title={`${method} ${url}`}>
        {method === 'GET' ? '' : `${method} `}
        {pathOf(url)}
      </a>
      <span className="soft">
        {name}
        {isPlain ? '' : `, because ${because}`}, {span(seconds)}
        {origin_seconds === null ? '' : `, ${span(origin_seconds)} of it at the origin`}
      </span>
    </li>
  );
}
