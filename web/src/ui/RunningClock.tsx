// A clock that starts when it appears and counts milliseconds until it is taken away.
import { useEffect, useState } from 'react';
import type { ReactNode } from 'react';

interface Props {
  /** What is being waited for. */
  readonly label: string;
  /** How to set the digits, where plain text will not do. */
  readonly render?: (digits: string) => ReactNode;
}

export function RunningClock({ label, render }: Props) {
  const [elapsedMs, setElapsedMs] = useState(0);

  useEffect(() => {
    const began = performance.now();
    let frame = requestAnimationFrame(function tick() {
      setElapsedMs(performance.now() - began);
      frame = requestAnimationFrame(tick);
    });
    return () => cancelAnimationFrame(frame);
  }, []);

  const digits = String(Math.floor(elapsedMs));
  return (
    <span role="timer" aria-label={label}>
      {render === undefined ? digits : render(digits)}
    </span>
  );
}
