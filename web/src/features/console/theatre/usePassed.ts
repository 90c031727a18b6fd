// Listens for single requests while the theatre is open: a server picks some of its hits only for as long as somebody does.
import { useEffect, useState } from 'react';
import { useApi, useEntry } from '../api/ApiContext';
import type { Passed } from '../api/passed';
import { passedShape } from '../api/passed';
import { isNotTold } from '../api/trouble';
import { isOver, listen, pause } from '../live/listen';
import { read } from '../live/live';
import { whileShown } from '../live/whileShown';

/** What the server has to say of single requests. */
export type Told = 'asked' | 'told' | 'untold';

const AGAIN_MS = 3000;
/** Where nobody asks, it says that it is there every fifteen seconds. */
const SILENCE_MS = 40_000;

/** `onPassed` stays the same from one drawing to the next. */
export function usePassed(onPassed: (passed: Passed) => void): Told {
  const api = useApi();
  const entry = useEntry();
  const mayRead = !(entry.kind === 'asked' && entry.wish === 'reading');
  const [told, setTold] = useState<Told>('asked');
  useEffect(() => {
    if (!mayRead) return;
    const run = async (signal: AbortSignal) => {
      while (!isOver(signal)) {
        try {
          await listen(api, { only: 'requests', silenceMs: SILENCE_MS }, signal, ({ event, data }) => {
            const passed = event === 'requests' ? read(passedShape, data) : null;
            if (passed === null || isOver(signal)) return;
            setTold('told');
            onPassed(passed);
          });
        } catch (error) {
          if (isOver(signal)) return;
          if (error instanceof Error && isNotTold(error)) {
            setTold('untold');
            return;
          }
        }
        await pause(AGAIN_MS, signal);
      }
    };
    return whileShown((signal) => void run(signal));
  }, [api, mayRead, onPassed]);
  return told;
}
