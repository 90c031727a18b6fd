// Asks anew for all that is shown when the server is heard again: it may be another process, which knows nothing of the one before.
import { useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef, useSyncExternalStore } from 'react';
import type { LiveFeed } from './LiveFeed';

export function useReturns(feed: LiveFeed): void {
  const client = useQueryClient();
  const returns = useSyncExternalStore(feed.subscribe, () => feed.live.returns);
  const seen = useRef(returns);
  useEffect(() => {
    if (seen.current === returns) return;
    seen.current = returns;
    void client.invalidateQueries();
  }, [client, returns]);
}
