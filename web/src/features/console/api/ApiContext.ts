// The admin API, for every component of the console.
import { createContext, useContext, useSyncExternalStore } from 'react';
import type { Api } from './api';
import type { Entry } from './session';

export const ApiContext = createContext<Api | null>(null);

export function useApi(): Api {
  const api = useContext(ApiContext);
  if (api === null) throw new Error('the console is outside its ApiContext');
  return api;
}

/** Whether a token is asked for. */
export function useEntry(): Entry {
  const { session } = useApi();
  return useSyncExternalStore(session.subscribe, () => session.entry);
}
