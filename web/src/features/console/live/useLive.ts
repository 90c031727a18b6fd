// The present, for every view: one stream for the whole page.
import { createContext, useContext, useEffect, useState, useSyncExternalStore } from 'react';
import { useApi, useEntry } from '../api/ApiContext';
import type { Live } from './live';
import { LiveFeed } from './LiveFeed';

export const LiveContext = createContext<LiveFeed | null>(null);

export function useLive(): Live {
  const feed = useContext(LiveContext);
  if (feed === null) throw new Error('the console is outside its LiveContext');
  return useSyncExternalStore(feed.subscribe, () => feed.live);
}

/** Runs while the page does, and anew after a token was shown. */
export function useLiveFeed(): LiveFeed {
  const api = useApi();
  const entry = useEntry();
  const [feed] = useState(() => new LiveFeed(api));
  const mayRead = !(entry.kind === 'asked' && entry.wish === 'reading');
  useEffect(() => {
    if (!mayRead) return;
    const over = new AbortController();
    void feed.run(over.signal);
    return () => over.abort();
  }, [feed, mayRead]);
  return feed;
}
