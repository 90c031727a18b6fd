// Text on one line that is cut in its middle where there is no room: its end tells it from its neighbours.
import './MiddleCut.css';

interface Props {
  readonly text: string;
}

/** So much of the end is seen in any case. */
const END = 14;

/** Where it stands in something with a name of its own, that name is the whole text: two pieces are read as two words. */
export function MiddleCut({ text }: Props) {
  if (text.length <= 2 * END) return <span className="middle-cut">{text}</span>;
  // No letter is two halves, one in each piece.
  const at = /[\uDC00-\uDFFF]/.test(text.charAt(text.length - END)) ? text.length - END - 1 : text.length - END;
  return (
    <span className="middle-cut">
      <span>{text.slice(0, at)}</span>
      <span>{text.slice(at)}</span>
    </span>
  );
}
