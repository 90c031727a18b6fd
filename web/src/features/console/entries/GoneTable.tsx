// Keys that went, a row each, the newest first.
import { ago, clockTime } from '../../../ui/format';
import { useMedia } from '../../../ui/useMedia';
import { VirtualRows } from '../../../ui/VirtualRows';
import type { GoneKey } from '../api/gone';
import { hrefOf } from '../place';
import { causeWords } from './gone';
import '../frame/GridTable.css';
import './GoneTable.css';

interface Props {
  readonly gone: readonly GoneKey[];
  /** In milliseconds since 1970. */
  readonly asOf: number;
  /** All that went by a purge of this name. */
  readonly byHref: (by: string) => string;
}

const HEADS = ['Key', 'Why', 'When', 'By'] as const;

/** As in the stylesheet. On a narrow page a row is a card. */
const NARROW = '(max-width: 56rem)';
const ROW_PX = 40;
const CARD_PX = 84;

export function GoneTable({ gone, asOf, byHref }: Props) {
  const isNarrow = useMedia(NARROW);
  return (
    <div className="grid-table gone-table" role="table" aria-label="What went lately" aria-rowcount={gone.length + 1}>
      <div role="rowgroup">
        <div role="row" aria-rowindex={1} className="grid-row grid-head">
          {HEADS.map((name) => (
            <div key={name} role="columnheader">
              {name}
            </div>
          ))}
        </div>
      </div>
      <VirtualRows
        label="What went lately"
        count={gone.length}
        rowPx={isNarrow ? CARD_PX : ROW_PX}
        renderRow={(index) => {
          const one = gone[index];
          return one === undefined ? null : <Row key={index} one={one} index={index} asOf={asOf} byHref={byHref} />;
        }}
      />
    </div>
  );
}

interface RowProps {
  readonly one: GoneKey;
  readonly index: number;
  readonly asOf: number;
  readonly byHref: (by: string) => string;
}

function Row({ one: { key, cause, at, purge }, index, asOf, byHref }: RowProps) {
  // A key of an application that is no URL can be asked about nowhere else.
  const isUrl = /^https?:\/\//.test(key);
  return (
    <div role="row" aria-rowindex={index + 2} className="grid-row figures">
      <div role="cell" className="gone-key" title={key}>
        {isUrl ? (
          <a href={hrefOf('explain', { url: key })} className="mono">
            {key}
          </a>
        ) : (
          <span className="mono">{key}</span>
        )}
      </div>
      <div role="cell">{causeWords(cause)}</div>
      <div role="cell" title={at.toISOString()}>
        {clockTime(at)} <span className="soft">{ago(at, asOf)}</span>
      </div>
      <div role="cell">
        {purge === null ? (
          <span className="soft">{cause === 'purged' ? 'a purge that is not remembered' : '–'}</span>
        ) : (
          <>
            <span className="soft">
              {purge.mode}, {clockTime(purge.at)}
            </span>{' '}
            <a href={byHref(purge.what)} className="mono" title={purge.what}>
              {purge.what}
            </a>
          </>
        )}
      </div>
    </div>
  );
}
