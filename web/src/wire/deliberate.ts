// Rules for a query cache on a page that counts requests: each one is somebody's deliberate act.
import type { QueryClientConfig } from '@tanstack/react-query';

export const DELIBERATE: QueryClientConfig = {
  defaultOptions: {
    queries: {
      retry: false,
      refetchOnWindowFocus: false,
      refetchOnReconnect: false,
      // Our servers are on this machine or near it: being offline is no reason not to ask them.
      networkMode: 'always',
    },
    mutations: { retry: false, networkMode: 'always' },
  },
};
