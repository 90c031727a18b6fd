// The outcome by today's rules and by others, side by side; what differs is marked, and said.
import { plural } from '../../../ui/format';
import type { Told } from '../api/explain';
import { comparisonOf } from './comparison';
import { ExplanationTree } from './ExplanationTree';
import './Comparison.css';

interface Props {
  readonly now: Told;
  readonly then: Told;
  /** What the other rules are called. */
  readonly name: string;
}

export function Comparison({ now, then, name }: Props) {
  const rows = comparisonOf(now, then);
  const differing = rows.filter(({ differs }) => differs).length;
  return (
    <section className="part comparison" aria-labelledby="comparison-title">
      <header className="part-head">
        <h2 id="comparison-title">Today’s rules, and {name}</h2>
        <p role="status">
          {differing === 0 ? 'They do the same with this request.' : `${plural(differing, 'line differs', 'lines differ')}.`}
        </p>
      </header>
      <table className="table comparison-table">
        <thead>
          <tr>
            <td />
            <th scope="col">Today</th>
            <th scope="col" className="breaks">
              By {name}
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ what, now: one, then: other, differs }) => (
            <tr key={what} className={differs ? 'comparison-differs' : undefined}>
              <th scope="row">
                {differs ? (
                  <span className="comparison-sign" aria-hidden="true">
                    ≠
                  </span>
                ) : null}
                {what}
                {differs ? <span className="visually-hidden">, differs</span> : null}
              </th>
              <td className="breaks" data-name="Today">
                {one}
              </td>
              <td className="breaks" data-name="Then">
                {differs ? <ins>{other}</ins> : <span className="soft">the same</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <details>
        <summary>All of it by {name}</summary>
        <ExplanationTree title={`What would become of it by ${name}`} told={then} last={null} />
      </details>
    </section>
  );
}
