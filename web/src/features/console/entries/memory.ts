// What had to go for want of room, as far as seconds are known.
import type { Sample } from '../api/samples';

export interface Evicted {
  readonly count: number;
  readonly since: Date;
  /** As long as a server remembers. */
  readonly isHour: boolean;
}

const HOUR_SECONDS = 3600;
/** A second or two of it may be under way. */
const NEARLY_SECONDS = 10;

/** `uptimeSeconds`: what a process before had to let go is not counted; 0: not told. `null`: no second is known. */
export function evictedIn(samples: readonly Sample[], uptimeSeconds: number): Evicted | null {
  const [first, last] = [samples[0], samples.at(-1)];
  if (first === undefined || last === undefined) return null;
  const from = last.second - (uptimeSeconds === 0 ? HOUR_SECONDS : Math.min(HOUR_SECONDS, Math.ceil(uptimeSeconds)));
  const counted = samples.filter(({ second }) => second > from);
  return {
    count: counted.reduce((sum, { evictions }) => sum + evictions, 0),
    since: new Date(Math.max(first.second, from) * 1000),
    isHour: first.second <= last.second - HOUR_SECONDS + NEARLY_SECONDS && (uptimeSeconds === 0 || uptimeSeconds >= HOUR_SECONDS - NEARLY_SECONDS),
  };
}
