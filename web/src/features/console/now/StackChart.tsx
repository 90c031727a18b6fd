// Columns over time, their parts on each other: a picture with a legend, a reading under the pointer, and a table.
import { useState } from 'react';
import type { PointerEvent, ReactNode } from 'react';
import { clockTime } from '../../../ui/format';
import type { Column, Sum } from './window';
import { scaleOf, stackPaths } from './stack';
import './StackChart.css';

export interface Layer {
  readonly name: string;
  /** Its colour, as in `chart-layer-hit`. */
  readonly tone: string;
  readonly sign?: ReactNode;
  /** For one second of the column. */
  readonly of: (sum: Sum) => number;
}

interface Props {
  readonly label: string;
  readonly columns: readonly Column[];
  readonly layers: readonly Layer[];
  readonly format: (value: number) => string;
  /** What a number counts, as in “a second”. */
  readonly unit: string;
}

export function StackChart({ label, columns, layers, format, unit }: Props) {
  const [pointed, setPointed] = useState<number | null>(null);
  const heights = columns.map(({ sum }) =>
    sum.seconds === 0 ? null : layers.map((layer) => layer.of(sum) / sum.seconds),
  );
  const totals = heights.map((parts) => (parts ?? []).reduce((all, part) => all + part, 0));
  const scale = scaleOf(Math.max(0, ...totals));
  const paths = stackPaths(heights, scale);
  const readAt = pointed ?? columns.length - 1;
  const read = columns[readAt];
  const readHeights = heights[readAt] ?? null;
  const known = columns.flatMap((column, at) => (heights[at] === null ? [] : [{ column, parts: heights[at] ?? [] }]));

  const point = (event: PointerEvent<HTMLDivElement>) => {
    const box = event.currentTarget.getBoundingClientRect();
    const share = (event.clientX - box.left) / Math.max(1, box.width);
    setPointed(Math.min(columns.length - 1, Math.max(0, Math.floor(share * columns.length))));
  };

  return (
    <figure className="stack">
      <figcaption className="stack-legend">
        {layers.map((layer, at) => (
          <span key={layer.name}>
            {layer.sign ?? <i className={`stack-swatch chart-layer-${layer.tone}`} aria-hidden="true" />} {layer.name}{' '}
            <b className="figures">{readHeights === null ? '–' : format(readHeights[at] ?? 0)}</b>
          </span>
        ))}
        <span className="stack-read figures">
          {read === undefined ? '' : pointed === null ? `${unit}, last` : `${unit}, ${timeOf(read)}`}
        </span>
      </figcaption>
      <div className="stack-plot" onPointerMove={point} onPointerLeave={() => setPointed(null)}>
        <span className="stack-top figures">{format(scale)}</span>
        <span className="stack-half figures">{format(scale / 2)}</span>
        <svg viewBox="0 0 1 1" preserveAspectRatio="none" role="img" aria-label={`${label}. A table of it follows.`}>
          {layers.map((layer, at) => (
            <path key={layer.name} className={`chart-layer-${layer.tone}`} d={paths[at] ?? ''} />
          ))}
          {pointed === null ? null : (
            <rect className="stack-pointed" x={pointed / columns.length} y="0" width={1 / columns.length} height="1" />
          )}
        </svg>
      </div>
      <div className="stack-times figures" aria-hidden="true">
        <span>{columns[0] === undefined ? '' : timeOf(columns[0])}</span>
        <span>{read === undefined ? '' : timeOf(columns[columns.length - 1] ?? read)}</span>
      </div>
      <details>
        <summary>The same as a table</summary>
        <div className="table-box">
          <table className="table figures">
            <caption className="visually-hidden">
              {label}, {unit}
            </caption>
            <thead>
              <tr>
                <th scope="col">From</th>
                {layers.map((layer) => (
                  <th key={layer.name} scope="col" className="number">
                    {layer.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {known.toReversed().map(({ column, parts }) => (
                <tr key={column.from}>
                  <th scope="row">{timeOf(column)}</th>
                  {layers.map((layer, at) => (
                    <td key={layer.name} className="number">
                      {format(parts[at] ?? 0)}
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}

function timeOf({ from }: Column): string {
  return clockTime(new Date(from * 1000));
}
