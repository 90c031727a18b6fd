// How often a question is asked again by itself: also after it failed, for a server that is started anew answers again.
import { isNotTold } from './trouble';

/** The state of a question, as `refetchInterval` is given it. */
interface Asked {
  readonly state: { readonly error: Error | null; readonly data: unknown };
}
type Interval = (asked: Asked) => number | false;

/** Not where the server has no such answer. */
export function again(everyMs: number): Interval {
  return ({ state: { error } }) => (isNotTold(error) ? false : everyMs);
}

/** Where its failure is shown with a way on: that would go and come. It is asked again when the server is heard again. */
export function againOnceTold(everyMs: number): Interval {
  return (asked) => (asked.state.error !== null && asked.state.data === undefined ? false : again(everyMs)(asked));
}
