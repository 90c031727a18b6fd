// What became of requests, route by route: `/v1/routes`.
import { amount, count, entriesOf, flag, instant, list, optional, orElse, shape, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import type { Api } from './api';

const latencyShape = shape({ p50: amount, p95: amount, p99: amount });
export type Latency = Decoded<typeof latencyShape>;

const requestsShape = shape({
  hit: orElse(count, 0),
  stale: orElse(count, 0),
  miss: orElse(count, 0),
  collapsed: orElse(count, 0),
  pass: orElse(count, 0),
  refused: orElse(count, 0),
});

const routeShape = shape({
  route: text,
  line: optional(text),
  upstream: optional(text),
  is_cached: orElse(flag, true),
  requests: requestsShape,
  /** Readers who got an error that was the origin’s doing. */
  reader_errors: orElse(count, 0),
  hit_ratio: optional(amount),
  reasons: orElse(entriesOf(count), []),
  hit_seconds: optional(latencyShape),
  miss_seconds: optional(latencyShape),
  origin_calls: orElse(count, 0),
  origin_failures: orElse(count, 0),
  origin_seconds: orElse(amount, 0),
  saved_seconds: orElse(amount, 0),
  entries: orElse(count, 0),
  bytes: orElse(count, 0),
  max_bytes: optional(count),
  fetches_now: optional(count),
  waiting: orElse(count, 0),
  limited: orElse(count, 0),
});
export type Route = Decoded<typeof routeShape>;

const pageShape = shape({ since: optional(instant), total: count, routes: list(routeShape), next: optional(text) });

export interface Routes {
  /** Since then requests are counted, where the server says it. */
  readonly since: Date | null;
  readonly routes: readonly Route[];
  readonly total: number;
}

const PAGE_ROWS = 1000;
/** More rows than this are not asked for: what costs most comes first. A file of 10,000 routes has one row more. */
const MOST_ROWS = 20_000;

/** So many of those that hold most. */
export async function fetchLargest(api: Api, limit: number, signal: AbortSignal): Promise<readonly Route[]> {
  const query = [
    ['order', 'bytes'],
    ['limit', limit],
  ] as const;
  return (await api.get('v1/routes', query, pageShape, signal)).routes;
}

/** All of them, what costs the origin most first. */
export async function fetchRoutes(api: Api, signal: AbortSignal): Promise<Routes> {
  const routes: Route[] = [];
  let after: string | null = null;
  for (;;) {
    const query = [
      ['order', 'origin_seconds'],
      ['limit', PAGE_ROWS],
      ['after', after],
    ] as const;
    const page: Decoded<typeof pageShape> = await api.get('v1/routes', query, pageShape, signal);
    routes.push(...page.routes);
    if (page.next === null || page.routes.length === 0 || routes.length >= MOST_ROWS) {
      return { since: page.since, routes, total: Math.max(page.total, routes.length) };
    }
    after = page.next;
  }
}
