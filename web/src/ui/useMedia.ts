// Whether a media query holds, for what a stylesheet cannot decide: the order of the page.
import { useSyncExternalStore } from 'react';

/** Where nobody can tell (there is no screen), it does not hold. */
export function useMedia(query: string): boolean {
  return useSyncExternalStore(
    (onChange) => {
      const list = listOf(query);
      list?.addEventListener('change', onChange);
      return () => list?.removeEventListener('change', onChange);
    },
    () => listOf(query)?.matches ?? false,
  );
}

function listOf(query: string): MediaQueryList | null {
  return typeof window.matchMedia === 'function' ? window.matchMedia(query) : null;
}
