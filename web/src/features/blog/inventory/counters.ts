// The console's event stream as states: what the counters can show at any moment.
import { Undecodable } from '../../../wire/decode';
import { statsShape } from '../api';
import type { CacheStats, Stats } from '../api';

export type CountersView =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live'; readonly stats: CacheStats }
  /** The console counts, but no posts cache is among what it counts. */
  | { readonly kind: 'nothing-counted' }
  /** The browser tries again by itself. */
  | { readonly kind: 'lost'; readonly last: CacheStats | null }
  /** The browser has given up; somebody must press a button. */
  | { readonly kind: 'closed'; readonly last: CacheStats | null };

export type CountersEvent =
  | { readonly kind: 'opening' }
  | { readonly kind: 'heard'; readonly data: unknown }
  | { readonly kind: 'dropped' }
  | { readonly kind: 'gave-up' };

export function nextCounters(view: CountersView, event: CountersEvent): CountersView {
  switch (event.kind) {
    case 'opening':
      return { kind: 'connecting' };
    case 'heard': {
      const stats = readStats(event.data);
      // One unreadable message says nothing about the next: keep the last good numbers, shown as old ones.
      if (stats === null) return { kind: 'lost', last: lastOf(view) };
      const posts = stats.caches.find(({ name }) => name === 'posts');
      return posts === undefined ? { kind: 'nothing-counted' } : { kind: 'live', stats: posts };
    }
    case 'dropped':
      return { kind: 'lost', last: lastOf(view) };
    case 'gave-up':
      return { kind: 'closed', last: lastOf(view) };
  }
}

function lastOf(view: CountersView): CacheStats | null {
  switch (view.kind) {
    case 'live':
      return view.stats;
    case 'lost':
    case 'closed':
      return view.last;
    case 'connecting':
    case 'nothing-counted':
      return null;
  }
}

function readStats(data: unknown): Stats | null {
  if (typeof data !== 'string') return null;
  try {
    return statsShape(JSON.parse(data), '');
  } catch (error) {
    if (error instanceof Undecodable || error instanceof SyntaxError) return null;
    throw error;
  }
}
