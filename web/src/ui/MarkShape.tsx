// The shape of a mark, about ten units wide, for any drawing. Told apart without colour.
import type { Mark } from './mark';
import './MarkShape.css';

interface Props {
  readonly mark: Mark;
  readonly x: number;
  readonly y: number;
  /** 1 is its full size. */
  readonly scale?: number;
}

export function MarkShape({ mark, x, y, scale = 1 }: Props) {
  return (
    <g className="mark-shape" transform={`translate(${x} ${y}) scale(${scale})`}>
      {shape(mark)}
    </g>
  );
}

function shape(mark: Mark) {
  switch (mark) {
    case 'hit':
      return <circle r="4.5" className="mark-full" />;
    case 'shared':
      // A hit within something larger.
      return (
        <>
          <circle r="5" className="mark-open" />
          <circle r="2" className="mark-full" />
        </>
      );
    case 'miss':
      return <path d="M0-6L6 0 0 6-6 0z" className="mark-full" />;
    case 'stale':
      // Half of what it was.
      return (
        <>
          <circle r="4.5" className="mark-open" />
          <path d="M0-4.500a4.500 4.500 0 0 0 0 9z" className="mark-full" />
        </>
      );
    case 'bypass':
      return <path d="M-4.500-4.500h9v9h-9z" className="mark-open" />;
    case 'unsaid':
      return <circle r="4.5" className="mark-open" />;
    case 'failed':
      return <path d="M-4.500-4.500l9 9m0-9l-9 9" className="mark-open" />;
  }
}
