// Starts the real `larder serve`, with a larder.toml of its own, and asks it for its figures.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { startProcess } from './childProcess.mjs';

const BINARY = resolve(process.env.LARDER_BIN ?? join(import.meta.dirname, '../../target/debug/larder'));

/**
 * @typedef {object} Gateway
 * @property {string} url where readers ask, without a last slash
 * @property {string} admin where its console is, without a last slash
 * @property {number} pid
 * @property {() => Promise<void>} stop
 */

/**
 * @param {string} rest of its larder.toml: services and routes
 * @param {{ admin?: string, adminPort?: number | string, files?: Record<string, string> }} [more] lines of `[admin]`, its port where
 *   it has to be a certain one, and files beside larder.toml
 * @returns {Promise<Gateway>}
 */
export async function startGateway(rest, { admin = '', adminPort = 0, files = {} } = {}) {
  const prepare = async (/** @type {string} */ folder) => {
    const text = `[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "127.0.0.1:${adminPort}"\nstage = true\n${admin}[memory]\nsize = "16MiB"\n${rest}`;
    await writeFile(join(folder, 'larder.toml'), text);
    for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content, { mode: 0o600 });
    return { PATH: process.env.PATH };
  };
  /** @param {import('./childProcess.mjs').Output} output */
  const readStart = ({ stderr }) => readPlaces(stderr);
  const gateway = await startProcess('larder serve', BINARY, ['serve'], prepare, readStart);
  return { ...gateway.told, pid: gateway.pid, stop: gateway.stop };
}

/**
 * @param {import('node:stream').Readable} log
 * @returns {Promise<{ url: string, admin: string }>}
 */
async function readPlaces(log) {
  const places = { url: '', admin: '' };
  for await (const line of createInterface({ input: log })) {
    const [, what, url] = /(listening|admin) on (https?:\/\/\S+)/.exec(line) ?? [];
    if (what === 'listening' && url !== undefined) places.url = url;
    if (what === 'admin' && url !== undefined) places.admin = url;
    if (line.includes(' caching ')) break;
  }
  assert.ok(places.url !== '' && places.admin !== '', 'it says where it listens');
  return places;
}

/** @typedef {Map<string, Map<string, number>>} ByRoute numbers by route and verdict; those above zero */

/**
 * What it tells Prometheus of each route.
 * @param {Gateway} gateway
 * @returns {Promise<{ requests: ByRoute, originCalls: Map<string, number>, entries: number, bytes: number }>}
 */
export async function metricsOf(gateway) {
  const text = await (await fetch(`${gateway.admin}/metrics`)).text();
  /** @type {ByRoute} */
  const requests = new Map();
  /** @type {Map<string, number>} */
  const originCalls = new Map();
  for (const [, route = '', verdict = '', value] of text.matchAll(/^larder_route_requests_total\{route="([^"]*)",verdict="([^"]*)"\} (\S+)$/gm)) {
    count(requests, route, verdict, Number(value));
  }
  for (const [, route = '', value] of text.matchAll(/^larder_route_origin_calls_total\{route="([^"]*)"\} (\S+)$/gm)) {
    if (Number(value) > 0) originCalls.set(route, Number(value));
  }
  const gauge = (/** @type {string} */ name) => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'm').exec(text)?.[1]);
  return { requests, originCalls, entries: gauge('larder_entries'), bytes: gauge('larder_memory_bytes') };
}

/**
 * @param {ByRoute} counted
 * @param {string} route
 * @param {string} verdict
 * @param {number} more
 */
export function count(counted, route, verdict, more) {
  if (more === 0) return;
  /** @type {Map<string, number>} */
  const verdicts = counted.get(route) ?? new Map();
  counted.set(route, verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + more));
}

/**
 * The same without routes.
 * @param {ByRoute} counted
 */
export function byVerdict(counted) {
  /** @type {Map<string, number>} */
  const all = new Map();
  for (const verdicts of counted.values()) {
    for (const [verdict, value] of verdicts) all.set(verdict, (all.get(verdict) ?? 0) + value);
  }
  return all;
}
