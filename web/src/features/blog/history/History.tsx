// The load times of this visit as a chart, and the same as a table for whoever wants numbers.
import { clockTime, millis, wholeNumber } from '../../../ui/format';
import { HistoryChart } from './HistoryChart';
import { MARKS } from '../../../ui/mark';
import { MARK_NAMES, markOf } from '../verdict/mark';
import type { Mark } from '../../../ui/mark';
import { MarkSign } from '../../../ui/MarkSign';
import { gainOf } from './visit';
import type { Visit } from './visit';
import { badgeNote } from '../verdict/verdictWords';
import '../../../ui/Instrument.css';
import './History.css';

interface Props {
  readonly visit: Visit;
  readonly postsDelayMs: number;
}

export function History({ visit, postsDelayMs }: Props) {
  // A hit and a miss are what one will see; the others are named once they were seen.
  const seen = new Set<Mark>(['hit', 'miss', ...visit.map(({ ending, verdict }) => markOf(ending, verdict))]);
  return (
    <section className="instrument history" aria-labelledby="history-title">
      <header className="instrument-head">
        <h2 id="history-title">This visit</h2>
        <span className="figures">{gainWords(gainOf(visit))}</span>
      </header>
      <HistoryChart visit={visit} postsDelayMs={postsDelayMs} />
      <p className="history-legend">
        {MARKS.filter((mark) => seen.has(mark)).map((mark) => (
          <span key={mark}>
            <MarkSign mark={mark} /> {MARK_NAMES[mark].toLowerCase()}
          </span>
        ))}
        <span className="history-delay">posts service</span>
      </p>
      <details>
        <summary>The same as a table</summary>
        {visit.length === 0 ? (
          <p className="instrument-text">No load yet.</p>
        ) : (
          <table className="figures">
            <caption className="visually-hidden">Load times of this visit, the latest first</caption>
            <thead>
              <tr>
                <th scope="col">Load</th>
                <th scope="col">At</th>
                <th scope="col">Post</th>
                <th scope="col">Cache</th>
                <th scope="col">Time</th>
              </tr>
            </thead>
            <tbody>
              {visit.toReversed().map((load) => (
                <tr key={load.number}>
                  <td>{load.number}</td>
                  <td>{clockTime(load.at)}</td>
                  <td>{load.postId}</td>
                  <td>
                    {[MARK_NAMES[markOf(load.ending, load.verdict)], badgeNote(load.verdict)]
                      .filter(Boolean)
                      .join(', ')}
                  </td>
                  <td>{millis(load.ms)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </details>
    </section>
  );
}

/** Two digits say enough of how much faster it was. */
function gainWords(gain: number | null): string {
  if (gain === null || gain < 1.5) return '';
  return `${wholeNumber(Number(gain.toPrecision(2)))} times as fast as the first`;
}
