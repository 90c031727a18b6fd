// The load times of this visit as a chart, and the same as a table for whoever wants numbers.
import { clockTime, millis } from '../format';
import { HistoryChart } from './HistoryChart';
import { MARK_NAMES, markOf, MARKS } from '../verdict/mark';
import { MarkSign } from '../verdict/MarkSign';
import type { Visit } from './visit';
import { badgeNote } from '../verdict/verdictWords';
import '../Instrument.css';
import './History.css';

interface Props {
  readonly visit: Visit;
  readonly postsDelayMs: number;
}

export function History({ visit, postsDelayMs }: Props) {
  const seen = new Set(visit.map(({ ending, verdict }) => markOf(ending, verdict)));
  return (
    <section
      className={visit.length === 0 ? 'instrument history history-empty' : 'instrument history'}
      aria-labelledby="history-title"
    >
      <header className="instrument-head">
        <h2 id="history-title">This visit</h2>
        <span className="history-legend">
          {MARKS.filter((mark) => seen.has(mark)).map((mark) => (
            <span key={mark}>
              <MarkSign mark={mark} /> {MARK_NAMES[mark].toLowerCase()}
            </span>
          ))}
          <span className="history-delay">posts service</span>
        </span>
      </header>
      <HistoryChart visit={visit} postsDelayMs={postsDelayMs} />
      {visit.length === 0 ? null : (
        <details>
          <summary>The same as a table</summary>
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
        </details>
      )}
    </section>
  );
}
