// A long table of which only the rows in sight (and a few beside) are elements. Arrow keys go from row to row.
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { CSSProperties, KeyboardEvent, ReactNode } from 'react';
import { rowAfter } from './rowAfter';
import { windowOf } from './rowWindow';
import { useMedia } from './useMedia';
import './VirtualGrid.css';

export interface RowPlace {
  readonly index: number;
  /** For what of the row can have the focus, the most important first: Tab stops at one row only. */
  readonly tabIndex: 0 | -1;
}

interface Props {
  readonly label: string;
  readonly className: string;
  /** What each column is called: cells with the role `columnheader`. */
  readonly heads: ReactNode;
  /** What each row is known by, in their order. None twice. Made anew only where the rows are others. */
  readonly keys: readonly string[];
  /** As many rows as there are, if more than have come so far. */
  readonly total?: number | null;
  readonly rowPx: number;
  /** On a narrow page a row is a card. */
  readonly cardPx: number;
  /** The row that is opened, by its key: once it is closed, the focus that was lost with it comes back to the row. */
  readonly open?: string | null;
  /** The cells of a row. */
  readonly renderRow: (place: RowPlace) => ReactNode;
  /** The last rows come into sight: more may be wanted. */
  readonly onNearEnd?: () => void;
}

/** As in the stylesheets. */
const NARROW = '(max-width: 56rem)';
/** Where nobody can tell (there is no screen), so much is in sight. */
const UNKNOWN_PX = 600;

export function VirtualGrid({ label, className, heads, keys, total, rowPx: widePx, cardPx, open = null, renderRow, onNearEnd }: Props) {
  const rowPx = useMedia(NARROW) ? cardPx : widePx;
  const boxRef = useRef<HTMLDivElement>(null);
  const [scrolledPx, setScrolledPx] = useState(0);
  const [boxPx, setBoxPx] = useState(UNKNOWN_PX);
  /** The row that has the focus, or had it last. It stays an element wherever one scrolls, or the focus would be lost. */
  const [current, setCurrent] = useState<string | null>(null);
  /** That row is to be given the focus once it is an element. */
  const isWanted = useRef(false);
  const wasOpen = useRef(open);

  useLayoutEffect(() => {
    const box = boxRef.current;
    if (box === null || typeof ResizeObserver !== 'function') return;
    const observer = new ResizeObserver(() => setBoxPx(box.clientHeight || UNKNOWN_PX));
    observer.observe(box);
    return () => observer.disconnect();
  }, []);

  const { first, last } = windowOf(keys.length, rowPx, scrolledPx, boxPx);
  const isNearEnd = last >= keys.length - 1;
  useEffect(() => {
    if (isNearEnd) onNearEnd?.();
  }, [isNearEnd, keys.length, onNearEnd]);

  const currentAt = current === null ? -1 : keys.indexOf(current);
  const stopAt = currentAt >= 0 ? currentAt : Math.min(Math.ceil(scrolledPx / rowPx), keys.length - 1);
  const goTo = (index: number) => {
    isWanted.current = true;
    setCurrent(keys[index] ?? null);
  };

  useEffect(() => {
    const closed = wasOpen.current;
    wasOpen.current = open;
    // Whoever has gone on elsewhere stays there.
    if (closed === null || open !== null || document.activeElement !== document.body) return;
    isWanted.current = true;
    setCurrent(closed);
  }, [open]);

  useLayoutEffect(() => {
    if (!isWanted.current) return;
    isWanted.current = false;
    const row = boxRef.current?.querySelector(`[data-row="${stopAt}"]`);
    row?.scrollIntoView({ block: 'nearest' });
    row?.querySelector<HTMLElement>('[tabindex="0"]')?.focus({ preventScroll: true });
  });

  const onKeyDown = (event: KeyboardEvent) => {
    const isRow = event.target instanceof Element && event.target.closest('[data-row]') !== null;
    if (!isRow || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const index = rowAfter(event.key, stopAt, keys.length, Math.max(1, Math.floor(boxPx / rowPx) - 1));
    if (index === null) return;
    event.preventDefault();
    goTo(index);
  };

  const shown = Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
  if (stopAt >= 0 && (stopAt < first || stopAt > last)) shown.push(stopAt);
  shown.sort((one, other) => one - other);
  return (
    <div
      ref={boxRef}
      className={`grid-table ${className}`}
      role="grid"
      aria-label={label}
      aria-rowcount={Math.max(total ?? 0, keys.length) + 1}
      tabIndex={-1}
      style={pixels('--row-px', rowPx)}
      onScroll={(event) => setScrolledPx(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
      onFocus={(event) => {
        const at = event.target.closest('[data-row]')?.getAttribute('data-row');
        if (at !== null && at !== undefined) setCurrent(keys[Number(at)] ?? null);
      }}
    >
      <div role="rowgroup" className="grid-heads">
        <div role="row" aria-rowindex={1} className="grid-row">
          {heads}
        </div>
      </div>
      <div role="rowgroup" className="grid-all" aria-label={label} style={{ blockSize: keys.length * rowPx }}>
        {shown.map((index) => (
          <div
            key={keys[index]}
            role="row"
            aria-rowindex={index + 2}
            data-row={index}
            className={open !== null && keys[index] === open ? 'grid-row grid-row-open figures' : 'grid-row figures'}
            style={{ transform: `translateY(${index * rowPx}px)` }}
          >
            {renderRow({ index, tabIndex: index === stopAt ? 0 : -1 })}
          </div>
        ))}
      </div>
    </div>
  );
}

function pixels(name: `--${string}`, px: number): CSSProperties {
  return Object.fromEntries([[name, `${px}px`]]);
}
