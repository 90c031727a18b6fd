// The counters of every cache: `/v1/stats`, and `stats` events. Of many, those that the console shows.
import { amount, count, flag, integer, list, optional, orElse, shape, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';

const lowerShape = shape({
  hits: orElse(count, 0),
  misses: orElse(count, 0),
  failures: orElse(count, 0),
  purges_outstanding: orElse(count, 0),
  is_trusted: orElse(flag, true),
  log_behind: orElse(integer, 0),
  log_behind_seconds: orElse(amount, 0),
  readers: orElse(count, 0),
  readers_alive: orElse(count, 0),
});
export type Lower = Decoded<typeof lowerShape>;

const cacheShape = shape({
  name: text,
  entries: count,
  bytes: count,
  max_bytes: optional(count),
  hit_rate: optional(amount),
  evictions: orElse(count, 0),
  fetch_failures: orElse(count, 0),
  saved_seconds: orElse(amount, 0),
  lower: optional(lowerShape),
});
export type CacheStats = Decoded<typeof cacheShape>;

/** A service, and where it is reached. */
const upstreamShape = shape({ name: text, addresses: list(shape({ address: text, is_up: flag })) });
export type Upstream = Decoded<typeof upstreamShape>;

export const statsShape = shape({
  uptime_seconds: orElse(amount, 0),
  caches: list(cacheShape),
  /** A gateway tells them; an application asks its own services itself. */
  upstreams: orElse(list(upstreamShape), []),
});
export type Stats = Decoded<typeof statsShape>;

/** Something lies below memory: it has been asked, or has readers. */
export function hasShared(stats: Stats): boolean {
  return stats.caches.some(({ lower }) => lower !== null && lower.hits + lower.misses + lower.readers > 0);
}
