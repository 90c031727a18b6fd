// Entries, a row each, as many as one scrolls to.
import { bytes, span } from '../../../ui/format';
import { useMedia } from '../../../ui/useMedia';
import { VirtualRows } from '../../../ui/VirtualRows';
import type { StoredEntry } from '../api/entries';
import { FreshnessBar } from './FreshnessBar';
import '../frame/GridTable.css';
import './EntryTable.css';

interface Props {
  readonly entries: readonly StoredEntry[];
  readonly total: number | null;
  readonly open: string | null;
  readonly hrefTo: (key: string) => string;
  readonly onNearEnd: () => void;
}

const HEADS = ['Key', 'Freshness', 'Size', 'Age', 'Cost', 'Read'] as const;

/** As in the stylesheet. */
const NARROW = '(max-width: 56rem)';
const ROW_PX = 44;
const CARD_PX = 100;

export function EntryTable({ entries, total, open, hrefTo, onNearEnd }: Props) {
  const isNarrow = useMedia(NARROW);
  return (
    <div className="grid-table entry-table" role="table" aria-label="Entries" aria-rowcount={(total ?? entries.length) + 1}>
      <div role="rowgroup">
        <div role="row" aria-rowindex={1} className="grid-row grid-head">
          {HEADS.map((name, at) => (
            <div key={name} role="columnheader" className={at > 1 ? 'number' : undefined}>
              {name}
            </div>
          ))}
        </div>
      </div>
      <VirtualRows
        label="Entries"
        count={entries.length}
        rowPx={isNarrow ? CARD_PX : ROW_PX}
        onNearEnd={onNearEnd}
        renderRow={(index) => {
          const entry = entries[index];
          return entry === undefined ? null : (
            <div
              key={`${entry.cache} ${entry.key}`}
              role="row"
              aria-rowindex={index + 2}
              className={entry.key === open ? 'grid-row grid-row-open figures' : 'grid-row figures'}
            >
              <div role="cell" className="entry-key">
                <a href={hrefTo(entry.key)} className="mono" title={entry.key}>
                  {entry.key}
                </a>
              </div>
              <div role="cell" className="entry-fresh">
                <FreshnessBar freshness={entry} />
              </div>
              <div role="cell" className="number" data-name="Size">
                {bytes(entry.bytes)}
              </div>
              <div role="cell" className="number" data-name="Age">
                {span(Math.round(entry.age_seconds))}
              </div>
              <div role="cell" className="number" data-name="Cost">
                {entry.cost_seconds === null ? '–' : span(entry.cost_seconds)}
              </div>
              <div role="cell" className="number" data-name="Read">
                {entry.heat ?? '–'}
              </div>
            </div>
          );
        }}
      />
    </div>
  );
}
