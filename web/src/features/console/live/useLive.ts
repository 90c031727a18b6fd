// The present, for every view: one stream for the whole page.
import { createContext, useContext, useEffect, useState, useSyncExternalStore } from 'react';
import { useApi, useEntry } from '../api/ApiContext';
import type { Live } from './live';
import { LiveFeed } from './LiveFeed';
import { whileShown } from './whileShown';

export const LiveContext = createContext<LiveFeed | null>(null);

export function useLive(): Live {
  const feed = useContext(LiveContext);
  if (feed === null) throw new Error('the console is outside its LiveContext');
  return useSyncExternalStore(feed.subscribe, () => feed.live);
}

/** Runs while the page is shown, and anew after a token was shown. */
export function useLiveFeed(): LiveFeed {
  const api = useApi();
  const entry = useEntry();
  const [feed] = useState(() => new LiveFeed(api));
  const mayRead = !(entry.kind === 'asked' && entry.wish === 'reading');
  useEffect(() => {
    if (!mayRead) return;
    return whileShown(
      (signal) => void feed.run(signal),
      () => feed.rest(),
    );
  }, [feed, mayRead]);
  return feed;
}
