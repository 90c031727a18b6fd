// A long list of rows of one height, of which only those in sight (and a few beside) are elements.
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { ReactNode } from 'react';
import { windowOf } from './rowWindow';
import './VirtualRows.css';

interface Props {
  readonly count: number;
  readonly rowPx: number;
  readonly renderRow: (index: number) => ReactNode;
  /** The last rows come into sight: more may be wanted. */
  readonly onNearEnd?: () => void;
  /** For those who listen, it is a group of a table's rows: the row of heads stands above. */
  readonly label: string;
}

/** Where nobody can tell (there is no screen), so much is in sight. */
const UNKNOWN_PX = 600;

export function VirtualRows({ count, rowPx, renderRow, onNearEnd, label }: Props) {
  const boxRef = useRef<HTMLDivElement>(null);
  const [scrolledPx, setScrolledPx] = useState(0);
  const [boxPx, setBoxPx] = useState(UNKNOWN_PX);

  useLayoutEffect(() => {
    const box = boxRef.current;
    if (box === null || typeof ResizeObserver !== 'function') return;
    const observer = new ResizeObserver(() => setBoxPx(box.clientHeight || UNKNOWN_PX));
    observer.observe(box);
    return () => observer.disconnect();
  }, []);

  const { first, last } = windowOf(count, rowPx, scrolledPx, boxPx);
  const isNearEnd = last >= count - 1;
  useEffect(() => {
    if (isNearEnd) onNearEnd?.();
  }, [isNearEnd, count, onNearEnd]);

  const rows = Array.from({ length: Math.max(0, last - first + 1) }, (_, at) => first + at);
  return (
    <div
      ref={boxRef}
      className="virtual-box"
      role="rowgroup"
      aria-label={label}
      {...SCROLLABLE}
      onScroll={(event) => setScrolledPx(event.currentTarget.scrollTop)}
    >
      <div className="virtual-all" role="presentation" style={{ blockSize: count * rowPx }}>
        <div className="virtual-shown" role="presentation" style={{ transform: `translateY(${first * rowPx}px)` }}>
          {rows.map(renderRow)}
        </div>
      </div>
    </div>
  );
}

/** A box that scrolls is reached by the keyboard, which then scrolls it. */
const SCROLLABLE = { tabIndex: 0 } as const;
