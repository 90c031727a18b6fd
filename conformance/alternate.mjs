// Requests for one URL that go to several caches in turn, as to one behind a load balancer.
import { setTimeout as sleep } from 'node:timers/promises';

const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'QUERY']);
/** What a PUT at one has made invalid, all the others know by then. */
const HEARD_MS = 100;

/**
 * @typedef {{ method?: string, headers: [string, string][] | Record<string, string> }} Asked
 * @typedef {(url: string, init: Asked) => Promise<unknown>} Fetch
 * @param {Fetch} fetch which sends a field Host as it is told to
 * @param {string[]} bases
 * @returns {Fetch}
 */
export function alternating(fetch, bases) {
  const [first = ''] = bases;
  // They share what has the same URL, and that has the host in it.
  const { host } = new URL(first);
  /** @type {Map<string, number>} */
  const turns = new Map();
  return async (url, init = { headers: [] }) => {
    const turn = turns.get(url) ?? 0;
    turns.set(url, turn + 1);
    const fields = init.headers ?? [];
    const headers = Array.isArray(fields) ? [...fields, ['host', host]] : { ...fields, host };
    const base = bases[turn % bases.length] ?? first;
    const answer = await fetch(url.replace(first, base), /** @type {Asked} */ ({ ...init, headers }));
    if (!SAFE.has(init.method ?? 'GET')) await sleep(HEARD_MS);
    return answer;
  };
}
