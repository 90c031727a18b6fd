// Where in the console one is. It lives in the address after `#`, which no server is told.
import { useSyncExternalStore } from 'react';

export const VIEWS = ['now', 'routes', 'explain', 'entries', 'purge', 'theatre'] as const;
export type View = (typeof VIEWS)[number];

export const VIEW_NAMES: Readonly<Record<View, string>> = {
  now: 'Now',
  routes: 'Routes',
  explain: 'Explain',
  entries: 'Entries',
  purge: 'Purge',
  theatre: 'Theatre',
};

export interface Place {
  readonly view: View;
  /** What of the view is looked at: each view has its own names. */
  readonly query: URLSearchParams;
}

/** What cannot be read is the first view: an address that somebody has cut off leads somewhere all the same. */
export function readPlace(hash: string): Place {
  const [path = '', search = ''] = hash.replace(/^#\/?/, '').split(/\?([^]*)/);
  const view = VIEWS.find((known) => known === path) ?? 'now';
  return { view, query: new URLSearchParams(search) };
}

export function hrefOf(view: View, query: Readonly<Record<string, string | null>> = {}): string {
  const told = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== null && pair[1] !== '');
  const search = new URLSearchParams(told).toString();
  return `#/${view}${search === '' ? '' : `?${search}`}`;
}

/** `replace`: what is only looked at in another order is not worth a step back. */
export function go(href: string, how: 'push' | 'replace' = 'push'): void {
  if (href === location.hash) return;
  if (how === 'push') history.pushState(null, '', href);
  else history.replaceState(null, '', href);
  // Neither tells anybody; the listeners below are the ones that must know.
  window.dispatchEvent(new PopStateEvent('popstate'));
}

export function usePlace(): Place {
  return readPlace(useSyncExternalStore(subscribe, () => location.hash));
}

function subscribe(onChange: () => void): () => void {
  window.addEventListener('popstate', onChange);
  window.addEventListener('hashchange', onChange);
  return () => {
    window.removeEventListener('popstate', onChange);
    window.removeEventListener('hashchange', onChange);
  };
}
