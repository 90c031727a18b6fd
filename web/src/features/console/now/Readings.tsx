// The large numbers of a stretch of time, each with what it is made of.
import { Fragment } from 'react';
import { bytes, percent, perSecond, plural, span, wholeNumber } from '../../../ui/format';
import { MarkSign } from '../../../ui/MarkSign';
import type { Sample } from '../api/samples';
import { hitRatioOf, requestsOf, VERDICTS } from '../api/samples';
import { VERDICT_WORDS } from '../words/verdicts';
import type { Sum } from './window';
import './Readings.css';

interface Props {
  readonly sum: Sum;
  /** What memory holds at its end. */
  readonly last: Sample | null;
  readonly isOld: boolean;
}

export function Readings({ sum, last, isOld }: Props) {
  const seconds = Math.max(1, sum.seconds);
  const requests = requestsOf(sum);
  const ratio = hitRatioOf(sum);
  const fill = last?.max_bytes === null || last === null ? null : last.bytes / Math.max(1, last.max_bytes);
  return (
    <dl className={isOld ? 'readings readings-old figures' : 'readings figures'}>
      <div>
        <dt>Requests a second</dt>
        <dd>
          <b>{perSecond(requests / seconds)}</b>
          <span className="readings-bar" aria-hidden="true">
            {VERDICTS.filter((verdict) => sum[verdict] > 0).map((verdict) => (
              <i key={verdict} className={`chart-layer-${verdict}`} style={{ flexGrow: sum[verdict] }} />
            ))}
          </span>
          <small>{requests === 0 ? 'Nobody asked.' : <Parts sum={sum} requests={requests} />}</small>
          {sum.reader_errors === 0 ? null : (
            <small>
              <MarkSign mark="failed" /> {wholeNumber(sum.reader_errors)} of them got an error ({percent(sum.reader_errors / Math.max(1, requests))})
            </small>
          )}
        </dd>
      </div>
      <div>
        <dt>Hit ratio</dt>
        <dd>
          <b>{ratio === null ? '–' : percent(ratio)}</b>
          <small>
            Hits, stale and collapsed, of all that were not passed or refused.{' '}
            {sum.reader_errors === 0 ? '' : `It says nothing of the ${plural(sum.reader_errors, 'reader', 'readers')} who got an error.`}
          </small>
        </dd>
      </div>
      <div>
        <dt>Origin calls a second</dt>
        <dd>
          <b>{perSecond(sum.origin_calls / seconds)}</b>
          <small>
            {sum.origin_calls === 0
              ? 'It was not asked.'
              : `${wholeNumber(sum.origin_calls)} in all, ${span(sum.origin_seconds / sum.origin_calls)} each. ${sum.origin_failures === 0 ? 'None failed.' : `${wholeNumber(sum.origin_failures)} failed.`}`}
          </small>
        </dd>
      </div>
      <div>
        <dt>Origin time saved</dt>
        <dd>
          <b>{span(sum.saved_seconds)}</b>
          <small>
            {span(sum.origin_seconds)} {'was spent all the same.'}
          </small>
        </dd>
      </div>
      <div>
        <dt>Memory</dt>
        <dd>
          <b>{last === null ? '–' : bytes(last.bytes)}</b>
          {fill === null || last === null ? null : (
            <span className="readings-bar" aria-hidden="true">
              <i className={fill > 0.9 ? 'chart-layer-miss' : 'chart-layer-hit'} style={{ flexGrow: fill }} />
              <i style={{ flexGrow: Math.max(0, 1 - fill) }} />
            </span>
          )}
          <small>
            {last === null
              ? 'Not known.'
              : `${last.max_bytes === null ? 'No bound in bytes' : `${percent(fill ?? 0)} of ${bytes(last.max_bytes)}`}, ${plural(last.entries, 'entry', 'entries')}. ${sum.evictions === 0 ? 'Nothing had to go.' : `${plural(sum.evictions, 'entry', 'entries')} had to go.`}`}
          </small>
        </dd>
      </div>
    </dl>
  );
}

interface PartsProps {
  readonly sum: Sum;
  readonly requests: number;
}

/** Each with the sign that its colour in the bar has elsewhere. */
function Parts({ sum, requests }: PartsProps) {
  return (
    <>
      {wholeNumber(requests)} in all:
      {VERDICTS.filter((verdict) => sum[verdict] > 0).map((verdict) => (
        <Fragment key={verdict}>
          {' '}
          <span className="readings-part">
            <MarkSign mark={VERDICT_WORDS[verdict].mark} /> {VERDICT_WORDS[verdict].name.toLowerCase()} {percent(sum[verdict] / requests)}
          </span>
        </Fragment>
      ))}
    </>
  );
}
