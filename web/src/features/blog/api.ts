// The three servers this page talks to, and the exact shape of what each of them answers.
import { ask, json } from '../../wire/ask';
import type { Answer } from '../../wire/ask';
import { amount, count, flag, instant, integer, list, nullable, oneOf, orElse, shape, text } from '../../wire/decode';
import type { Decoded } from '../../wire/decode';

const postShape = shape({
  id: integer,
  title: text,
  content: text,
  department: text,
  author: text,
  created_at: instant,
});
export type Post = Decoded<typeof postShape>;

const configShape = shape({
  backend_port: count,
  console_port: count,
  posts_delay_ms: amount,
  cache_enabled: flag,
});

const crowdShape = shape({
  users: count,
  answered: count,
  failed: count,
  fetches: count,
  collapsed: count,
  hits: count,
  fastest_ms: amount,
  median_ms: amount,
  slowest_ms: amount,
});
export type CrowdResult = Decoded<typeof crowdShape>;

const tierShape = shape({ tier: text, state: text, by: orElse(count, 0) });

const purgeShape = shape({
  /** How many entries that was is not known where a single step concerns them all. */
  purged: nullable(count),
  receipts: orElse(list(shape({ tiers: list(tierShape) })), []),
});

/** What came of a purge. */
export interface Purged {
  /** So many entries of the backend's own, if they were counted. */
  readonly purged: number | null;
  /** At so many backends it holds, and none serves what is older. None: nothing is shared, or it was not waited for. */
  readonly backends: number | 'not-all-yet' | null;
}

const rulesShape = shape({
  enabled: flag,
  ttl_seconds: amount,
  stale_while_revalidate: flag,
  /** While that is switched on. Zero: nothing could ever be stale. */
  stale_while_revalidate_seconds: amount,
  stale_if_error_seconds: amount,
  /** What came of the call that ended last. */
  posts_service: oneOf('unasked', 'answered', 'failed'),
  /** With other backends. */
  shared: orElse(flag, false),
});
export type Rules = Decoded<typeof rulesShape>;
/** What of them the page can change. */
export type SwitchName = 'enabled' | 'stale_while_revalidate';

const cacheStatsShape = shape({
  name: text,
  hits: count,
  stale_served: orElse(count, 0),
  misses: count,
  /** None before the first look-up. */
  hit_rate: orElse(nullable(amount), null),
  fetches: count,
  collapsed: count,
  entries: count,
  bytes: count,
  max_bytes: count,
  /** What several backends share, as this one sees it. */
  lower: orElse(shape({ hits: count, misses: count }), { hits: 0, misses: 0 }),
});
export type CacheStats = Decoded<typeof cacheStatsShape>;

export const statsShape = shape({ caches: list(cacheStatsShape) });
export type Stats = Decoded<typeof statsShape>;

/** Where everything is, and what the page may promise about it. */
export interface Config {
  readonly backendUrl: string;
  readonly consoleUrl: string;
  readonly postsDelayMs: number;
  /** At the start; a switch may have changed it since. */
  readonly cacheEnabled: boolean;
}

export async function fetchConfig(hostname: string, signal: AbortSignal): Promise<Config> {
  const { value } = await ask('/config.json', configShape, { signal });
  return {
    backendUrl: `http://${hostname}:${value.backend_port}`,
    consoleUrl: `http://${hostname}:${value.console_port}`,
    postsDelayMs: value.posts_delay_ms,
    cacheEnabled: value.cache_enabled,
  };
}

export function listPosts(config: Config, signal: AbortSignal): Promise<Answer<readonly Post[]>> {
  return ask(`${config.backendUrl}/api/posts`, list(postShape), { signal });
}

export function getPost(config: Config, id: number, signal: AbortSignal): Promise<Answer<Post>> {
  return ask(`${config.backendUrl}/api/posts/${id}`, postShape, { signal });
}

export async function fetchRules(config: Config, signal: AbortSignal): Promise<Rules> {
  const { value } = await ask(`${config.backendUrl}/api/cache`, rulesShape, { signal });
  return value;
}

/** The rules as they are then. */
export async function changeRule(config: Config, name: SwitchName, on: boolean): Promise<Rules> {
  const { value } = await ask(`${config.backendUrl}/api/cache`, rulesShape, json({ [name]: on }, 'PATCH'));
  return value;
}

export type PurgeWhat = { readonly all: true } | { readonly keys: readonly string[] };
/** `hard`: gone for good. `soft`: as if its time were over. */
export type PurgeMode = 'hard' | 'soft';

/** A backend that is gone is waited for no longer than this. */
const OTHERS_TIMEOUT_MS = 5000;

/** `waitsForOthers`: until it holds at all backends that share. */
export async function purge(
  config: Config,
  what: PurgeWhat,
  mode: PurgeMode,
  waitsForOthers = false,
): Promise<Purged> {
  const wait = waitsForOthers ? { wait: 'shared', timeout_ms: OTHERS_TIMEOUT_MS } : {};
  const { value } = await ask(`${config.consoleUrl}/v1/purge`, purgeShape, json({ ...what, mode, ...wait }));
  const shared = waitsForOthers ? value.receipts[0]?.tiers.find(({ tier }) => tier === 'shared') : undefined;
  return { purged: value.purged, backends: shared === undefined ? null : backendsOf(shared) };
}

function backendsOf({ state, by }: Decoded<typeof tierShape>): Purged['backends'] {
  // `lapsed`: those who said nothing have not heard of the others for so long that they serve nothing older.
  return state === 'applied' || state === 'lapsed' ? by : 'not-all-yet';
}

/** The name under which the backend keeps a post. */
export function cacheKey(postId: number): string {
  return `/posts/${postId}`;
}

/** The page's server opens the connections: a browser would open six and queue the rest. */
export async function sendCrowd(postId: number, users: number): Promise<CrowdResult> {
  const { value } = await ask('/crowd', crowdShape, json({ post_id: postId, users }));
  return value;
}

export function eventsUrl(config: Config): string {
  return `${config.consoleUrl}/v1/events`;
}
