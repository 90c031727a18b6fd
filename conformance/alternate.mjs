// Requests for one URL that go to several caches in turn, as to one behind a load balancer.

/**
 * @typedef {(url: string, init: { headers: [string, string][] | Record<string, string> }) => Promise<unknown>} Fetch
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
  return (url, init = { headers: [] }) => {
    const turn = turns.get(url) ?? 0;
    turns.set(url, turn + 1);
    const fields = init.headers ?? [];
    const headers = Array.isArray(fields) ? [...fields, ['host', host]] : { ...fields, host };
    const base = bases[turn % bases.length] ?? first;
    return fetch(url.replace(first, base), /** @type {Parameters<Fetch>[1]} */ ({ ...init, headers }));
  };
}
