// A button that can be out of action without vanishing from the keyboard: focus stays where it was.
import { useRef } from 'react';
import type { ReactNode } from 'react';
import './ActionButton.css';

interface Props {
  readonly onPress: () => void;
  /** Pressing it does nothing, for now. */
  readonly resting?: boolean;
  /** The second press of a double click counts, although the button rests since the first, which counted. */
  readonly doubleClicks?: boolean;
  /** Id of the text that says what it does, or why it rests. */
  readonly describedBy?: string | undefined;
  readonly rank?: 'main' | 'side';
  readonly children: ReactNode;
}

export function ActionButton({
  onPress,
  resting = false,
  doubleClicks = false,
  describedBy,
  rank = 'side',
  children,
}: Props) {
  const hasCounted = useRef(false);
  return (
    <button
      type="button"
      className={`action action-${rank}`}
      aria-disabled={resting}
      aria-describedby={describedBy}
      onClick={({ detail }) => {
        const isOneMore = detail > 1;
        if (!isOneMore) hasCounted.current = !resting;
        if (!resting || (doubleClicks && isOneMore && hasCounted.current)) onPress();
      }}
    >
      {children}
    </button>
  );
}
