// Holds the console's event stream open while the page is.
import { useEffect, useReducer, useState } from 'react';
import { nextCounters } from './counters';
import type { CountersView } from './counters';

/** The state of the counters, and a way to connect again after the browser has given up. */
export function useCounters(eventsUrl: string): readonly [CountersView, () => void] {
  const [view, dispatch] = useReducer(nextCounters, { kind: 'connecting' });
  const [attempt, setAttempt] = useState(0);

  useEffect(() => {
    const source = new EventSource(eventsUrl);
    source.addEventListener('stats', (event: MessageEvent<unknown>) => dispatch({ kind: 'heard', data: event.data }));
    source.addEventListener('error', () =>
      dispatch({ kind: source.readyState === EventSource.CLOSED ? 'gave-up' : 'dropped' }),
    );
    return () => source.close();
  }, [eventsUrl, attempt]);

  const connect = () => {
    dispatch({ kind: 'opening' });
    setAttempt((tried) => tried + 1);
  };
  return [view, connect];
}
