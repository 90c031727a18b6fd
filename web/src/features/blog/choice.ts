// Which post is chosen. It lives in the address, so that a link, back and forward all work.
import { useSyncExternalStore } from 'react';

export type Choice =
  | { readonly kind: 'none' }
  | { readonly kind: 'post'; readonly id: number }
  /** The address asks for something that cannot be a post. */
  | { readonly kind: 'unreadable'; readonly text: string };

export function readChoice(search: string): Choice {
  const text = new URLSearchParams(search).get('post');
  if (text === null || text === '') return { kind: 'none' };
  return /^\d{1,9}$/.test(text) ? { kind: 'post', id: Number(text) } : { kind: 'unreadable', text };
}

export function hrefOf(id: number | null): string {
  return id === null ? '/' : `/?post=${id}`;
}

export function choose(id: number | null): void {
  // What is chosen already gets no second entry in the history: going back would lead nowhere.
  if (hrefOf(id) === location.pathname + location.search) return;
  history.pushState(null, '', hrefOf(id));
  // pushState tells nobody; the listeners below are the ones that must know.
  window.dispatchEvent(new PopStateEvent('popstate'));
}

export function useChoice(): Choice {
  return readChoice(useSyncExternalStore(subscribe, () => location.search));
}

function subscribe(onChange: () => void): () => void {
  window.addEventListener('popstate', onChange);
  return () => window.removeEventListener('popstate', onChange);
}
