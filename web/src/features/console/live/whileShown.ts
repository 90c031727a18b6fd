// Runs what holds a connection only while somebody can see the page: a browser has six to one host for all of its tabs.

/** Whoever only looks into another tab comes back to a stream that went on. */
export const HIDDEN_MS = 5000;

/**
 * `run` is started when the page is shown, and its signal is aborted when the page has been hidden for a while, or is left: one
 * that is kept for the way back holds its connections otherwise. `onHidden`: it does not run from now on.
 *
 * Stopped by what is given back.
 */
export function whileShown(run: (signal: AbortSignal) => void, onHidden: () => void = () => undefined): () => void {
  let over: AbortController | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const close = () => {
    clearTimeout(timer);
    if (over === null) return;
    over.abort();
    over = null;
    onHidden();
  };
  const look = () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(close, HIDDEN_MS);
    } else if (over === null) {
      over = new AbortController();
      run(over.signal);
    }
  };

  document.addEventListener('visibilitychange', look);
  window.addEventListener('pageshow', look);
  window.addEventListener('pagehide', close);
  if (document.hidden) onHidden();
  else look();
  return () => {
    document.removeEventListener('visibilitychange', look);
    window.removeEventListener('pageshow', look);
    window.removeEventListener('pagehide', close);
    clearTimeout(timer);
    over?.abort();
  };
}
