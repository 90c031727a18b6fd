// A click the page may answer itself; with a modifier it is meant for the browser (a new tab, a download).
import type { MouseEvent } from 'react';

export function isPlainClick(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
}
