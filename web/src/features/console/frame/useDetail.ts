// What was opened beside a list: the focus goes to its heading, Escape closes it as its link does, and the focus goes back
// to what has opened it.
import { useEffect, useRef } from 'react';
import type { RefObject } from 'react';
import { go } from '../place';

/** What it gives belongs on the heading. */
export function useDetail(closeHref: string): RefObject<HTMLHeadingElement | null> {
  const headRef = useRef<HTMLHeadingElement>(null);

  useEffect(() => {
    const opener = document.activeElement;
    headRef.current?.focus({ preventScroll: true });
    return () => {
      // Whoever has gone on elsewhere stays there; an opener that has gone gets nothing, and the list sees to it.
      const isLost = document.activeElement === null || document.activeElement === document.body;
      if (isLost && opener instanceof HTMLElement && opener.isConnected) opener.focus();
    };
  }, []);

  useEffect(() => {
    const close = (event: KeyboardEvent) => {
      // A field has uses of its own for it.
      const isField = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
      if (event.key === 'Escape' && !event.defaultPrevented && !isField) go(closeHref);
    };
    window.addEventListener('keydown', close);
    return () => window.removeEventListener('keydown', close);
  }, [closeHref]);

  return headRef;
}
