// A small site behind the gateway, which counts what reaches it, and readers who ask for it, and count what they get.
import { once } from 'node:events';
import { Agent, createServer, get } from 'node:http';
import { count } from './gatewayProcess.mjs';

/** What is served, by route: as the gateway's file has it. Each says something else of caching. */
const PAGES = /** @type {const} */ ({
  '/posts/{id}': { fields: { 'cache-control': 'max-age=600' }, delayMs: 15, bytes: 3000 },
  '/search': { fields: { 'cache-control': 'max-age=600' }, delayMs: 60, bytes: 9000 },
  '/me': { fields: { 'set-cookie': 'session=1' }, delayMs: 10, bytes: 400 },
  '/cart/**': { fields: { 'cache-control': 'max-age=600' }, delayMs: 10, bytes: 700 },
  otherwise: { fields: { 'cache-control': 'max-age=600', 'content-type': 'text/css' }, delayMs: 5, bytes: 1200 },
});

/** @typedef {keyof typeof PAGES} Route */

/**
 * The routes of the site, for its larder.toml.
 * @param {string} origin
 */
export function configuration(origin) {
  return `[upstream.shop]
url = "${origin}"
[[route]]
path = "/posts/{id}"
tags = ["post:{id}"]
[[route]]
path = "/search"
[[route]]
path = "/me"
[[route]]
path = "/cart/**"
cache = false
`;
}

/** @param {string} path @returns {Route} */
function routeOf(path) {
  if (/^\/posts\/[^/]+$/.test(path)) return '/posts/{id}';
  if (path === '/search' || path === '/me') return path;
  return path.startsWith('/cart/') ? '/cart/**' : 'otherwise';
}

/** @typedef {{ url: string, calls: Map<string, number>, fail: (status: number) => void, stop: () => Promise<void> }} Site
 * `calls`: by route; from `fail` on it answers everything with that status */

/** @returns {Promise<Site>} */
export async function startSite() {
  /** @type {Map<string, number>} */
  const calls = new Map();
  let failure = 0;
  const server = createServer((request, response) => {
    const path = (request.url ?? '/').replace(/\?.*/, '');
    const route = routeOf(path);
    calls.set(route, (calls.get(route) ?? 0) + 1);
    const { fields, delayMs, bytes } = PAGES[route];
    setTimeout(() => {
      if (failure > 0) return void response.writeHead(failure).end();
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', ...fields });
      response.end(`<!doctype html><title>${path}</title>\n`.padEnd(bytes, 'Goods that keep. '));
    }, delayMs);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return {
    url: `http://127.0.0.1:${address.port}`,
    calls,
    fail: (status) => void (failure = status),
    stop: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** Of ten requests six are for a few posts, and each search is another one. */
const TURNS = ['posts', 'posts', 'search', 'posts', 'me', 'posts', 'cart', 'posts', 'style', 'posts'];

/** @param {number} turn */
function pathOf(turn) {
  switch (TURNS[turn % TURNS.length] ?? '') {
    case 'search':
      return `/search?q=word-${turn}`;
    case 'me':
      return '/me';
    case 'cart':
      return `/cart/${turn % 3}`;
    case 'style':
      return '/style.css';
    default:
      // Each of forty posts gets its turn.
      return `/posts/${(turn * 7 + Math.floor(turn / 40)) % 40}`;
  }
}

/**
 * Asks so often, with `readers` at once, each with a pause after an answer: `requests` × `pauseMs` / `readers` is about how long
 * it takes.
 * @param {string} gateway
 * @param {{ requests: number, readers: number, pauseMs: number }} load
 * @returns {Promise<import('./gatewayProcess.mjs').ByRoute>} what readers got, as `Cache-Status` says it
 */
export async function ask(gateway, { requests, readers, pauseMs }) {
  /** @type {import('./gatewayProcess.mjs').ByRoute} */
  const got = new Map();
  const agent = new Agent({ keepAlive: true, maxSockets: readers });
  let turn = 0;
  const read = async () => {
    while (turn < requests) {
      const path = pathOf(turn);
      turn += 1;
      count(got, routeOf(path.replace(/\?.*/, '')), await verdictOf(gateway, path, agent), 1);
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  };
  try {
    await Promise.all(Array.from({ length: readers }, read));
  } finally {
    agent.destroy();
  }
  return got;
}

/**
 * @param {string} gateway
 * @param {string} path
 * @param {Agent} agent
 * @returns {Promise<string>}
 */
async function verdictOf(gateway, path, agent) {
  /** @type {import('node:http').IncomingMessage} */
  const response = await new Promise((resolve, reject) => get(gateway + path, { agent }, resolve).on('error', reject));
  response.resume();
  await once(response, 'end');
  const said = String(response.headers['cache-status'] ?? '');
  if (response.statusCode !== 200) return 'refused';
  if (/;\s*hit\b/.test(said)) return /;\s*detail=hit$/.test(said) ? 'hit' : 'stale';
  if (/;\s*collapsed\b/.test(said)) return 'collapsed';
  return /;\s*fwd=(?:bypass|method)\b/.test(said) ? 'pass' : 'miss';
}
