// Escape closes what was opened, as its link does.
import { useEffect } from 'react';
import { go } from '../place';

export function useEscape(closeHref: string): void {
  useEffect(() => {
    const close = (event: KeyboardEvent) => {
      // A field has uses of its own for it.
      const isField = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
      if (event.key === 'Escape' && !event.defaultPrevented && !isField) go(closeHref);
    };
    window.addEventListener('keydown', close);
    return () => window.removeEventListener('keydown', close);
  }, [closeHref]);
}
