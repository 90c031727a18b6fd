// How full the memory is, and whether anything had to go for want of room.
import { useQuery } from '@tanstack/react-query';
import { bytes, moment, percent, plural, wholeNumber } from '../../../ui/format';
import { Words } from '../../../ui/Words';
import { useApi } from '../api/ApiContext';
import { countGone } from '../api/gone';
import { useLive } from '../live/useLive';
import { hrefOf } from '../place';
import { reasonWords } from '../words/reasons';
import { evictedIn } from './memory';
import './Memory.css';

export function Memory() {
  const api = useApi();
  const { stats, samples } = useLive();
  const gone = useQuery({ queryKey: ['gone', 'of-route', ''], queryFn: ({ signal }) => countGone(api, '', signal) });
  if (stats === null) return null;
  const causes = (gone.data ?? []).toSorted(([, one], [, other]) => other - one);
  const evicted = evictedIn(samples, stats.uptime_seconds);
  return (
    <div className="part memory figures">
      <header className="part-head">
        <h2>How full it is</h2>
      </header>
      {stats.caches.map(({ name, bytes: held, max_bytes: bound, entries }) => (
        <div key={name} className="memory-cache">
          {bound === null ? null : (
            <span className="memory-bar" aria-hidden="true">
              <i style={{ inlineSize: `${Math.min(1, held / Math.max(1, bound)) * 100}%` }} />
            </span>
          )}
          <p>
            {stats.caches.length === 1 ? '' : `${name}: `}
            {bytes(held)}
            {bound === null ? ', without a bound in bytes' : ` of ${bytes(bound)}, ${percent(held / Math.max(1, bound))}`}{' '}
            <span className="soft">{plural(entries, 'entry', 'entries')}</span>
          </p>
        </div>
      ))}
      {evicted === null ? null : evicted.count === 0 ? (
        <p className="soft">{evicted.isHour ? 'In the last hour' : `Since ${moment(evicted.since)}`} nothing had to go for want of room.</p>
      ) : (
        <>
          <p>
            {evicted.isHour ? 'In the last hour' : `Since ${moment(evicted.since)}`}{' '}
            <a href={hrefOf('entries', { show: 'gone', cause: 'evicted' })}>{plural(evicted.count, 'entry', 'entries')}</a> had to go for
            want of room.
          </p>
          <p className="remedy">
            It matters if they are asked for again: then <Words text={lowered(reasonWords('evicted').remedy ?? '')} />
          </p>
        </>
      )}
      {causes.length === 0 ? null : (
        <p className="soft">
          <a href={hrefOf('entries', { show: 'gone' })}>What went lately</a>:{' '}
          {causes.map(([cause, count]) => `${wholeNumber(count)} ${cause}`).join(', ')}.
        </p>
      )}
    </div>
  );
}

function lowered(sentence: string): string {
  return sentence.charAt(0).toLowerCase() + sentence.slice(1);
}
