// Keys that went, a row each, the newest first.
import { useMemo } from 'react';
import { ago, clockTime } from '../../../ui/format';
import { MiddleCut } from '../../../ui/MiddleCut';
import { VirtualGrid } from '../../../ui/VirtualGrid';
import type { GoneKey } from '../api/gone';
import { hrefOf } from '../place';
import { causeWords } from './gone';
import './GoneTable.css';

interface Props {
  readonly gone: readonly GoneKey[];
  /** In milliseconds since 1970. */
  readonly asOf: number;
  /** All that went by a purge of this name. */
  readonly byHref: (by: string) => string;
}

const HEADS = ['Key', 'Why', 'When', 'By'] as const;

export function GoneTable({ gone, asOf, byHref }: Props) {
  // A key can have gone several times.
  const keys = useMemo(() => gone.map((_, at) => String(at)), [gone]);
  return (
    <VirtualGrid
      label="What went lately"
      className="gone-table"
      heads={HEADS.map((name) => (
        <div key={name} role="columnheader">
          {name}
        </div>
      ))}
      keys={keys}
      rowPx={40}
      cardPx={84}
      renderRow={({ index, tabIndex }) => {
        const one = gone[index];
        return one === undefined ? null : <Cells one={one} asOf={asOf} byHref={byHref} tabIndex={tabIndex} />;
      }}
    />
  );
}

interface CellsProps {
  readonly one: GoneKey;
  readonly asOf: number;
  readonly byHref: (by: string) => string;
  readonly tabIndex: 0 | -1;
}

function Cells({ one: { key, cause, at, purge }, asOf, byHref, tabIndex }: CellsProps) {
  // A key of an application that is no URL can be asked about nowhere else.
  const isUrl = /^https?:\/\//.test(key);
  return (
    <>
      {isUrl ? (
        <div role="rowheader">
          <a href={hrefOf('explain', { url: key })} className="mono grid-name" title={key} aria-label={key} tabIndex={tabIndex}>
            <MiddleCut text={key} />
          </a>
        </div>
      ) : (
        <div role="rowheader" className="mono" title={key} tabIndex={tabIndex}>
          <MiddleCut text={key} />
        </div>
      )}
      <div role="gridcell">{causeWords(cause)}</div>
      <div role="gridcell" title={at.toISOString()}>
        {clockTime(at)} <span className="soft">{ago(at, asOf)}</span>
      </div>
      <div role="gridcell">
        {purge === null ? (
          <span className="soft">{cause === 'purged' ? 'a purge that is not remembered' : '–'}</span>
        ) : (
          <>
            <span className="soft">
              {purge.mode}, {clockTime(purge.at)}
            </span>{' '}
            <a href={byHref(purge.what)} className="mono" title={purge.what} tabIndex={tabIndex}>
              {purge.what}
            </a>
          </>
        )}
      </div>
    </>
  );
}
