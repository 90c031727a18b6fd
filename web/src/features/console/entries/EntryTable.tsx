// Entries, a row each, as many as one scrolls to.
import { useMemo } from 'react';
import { bytes, span } from '../../../ui/format';
import { MiddleCut } from '../../../ui/MiddleCut';
import { VirtualGrid } from '../../../ui/VirtualGrid';
import type { StoredEntry } from '../api/entries';
import { FreshnessBar } from './FreshnessBar';
import './EntryTable.css';

interface Props {
  readonly entries: readonly StoredEntry[];
  readonly total: number | null;
  readonly open: string | null;
  readonly hrefTo: (key: string) => string;
  readonly onNearEnd: () => void;
}

const HEADS = ['Key', 'Freshness', 'Size', 'Age', 'To fetch', 'Read'] as const;

export function EntryTable({ entries, total, open, hrefTo, onNearEnd }: Props) {
  // Two caches may hold the same key.
  const keys = useMemo(() => entries.map(idOf), [entries]);
  const opened = open === null ? undefined : entries.find(({ key }) => key === open);
  return (
    <VirtualGrid
      label="Entries"
      className="entry-table"
      heads={HEADS.map((name, at) => (
        <div key={name} role="columnheader" className={at > 1 ? 'number' : undefined}>
          {name}
        </div>
      ))}
      keys={keys}
      total={total}
      rowPx={44}
      cardPx={100}
      open={opened === undefined ? open : idOf(opened)}
      onNearEnd={onNearEnd}
      renderRow={({ index, tabIndex }) => {
        const entry = entries[index];
        return entry === undefined ? null : <Cells entry={entry} href={hrefTo(entry.key)} tabIndex={tabIndex} />;
      }}
    />
  );
}

function idOf({ cache, key }: StoredEntry): string {
  return `${cache} ${key}`;
}

interface CellsProps {
  readonly entry: StoredEntry;
  readonly href: string;
  readonly tabIndex: 0 | -1;
}

function Cells({ entry, href, tabIndex }: CellsProps) {
  return (
    <>
      <div role="rowheader" className="entry-key">
        <a href={href} className="mono grid-name" title={entry.key} aria-label={entry.key} tabIndex={tabIndex}>
          <MiddleCut text={entry.key} />
        </a>
      </div>
      <div role="gridcell" className="entry-fresh">
        <FreshnessBar freshness={entry} />
      </div>
      <div role="gridcell" className="number" data-name="Size">
        {bytes(entry.bytes)}
      </div>
      <div role="gridcell" className="number" data-name="Age">
        {span(Math.round(entry.age_seconds))}
      </div>
      <div role="gridcell" className="number" data-name="To fetch">
        {entry.cost_seconds === null ? '–' : span(entry.cost_seconds)}
      </div>
      <div role="gridcell" className="number" data-name="Read">
        {entry.heat ?? '–'}
      </div>
    </>
  );
}
