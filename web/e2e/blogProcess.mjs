// Starts the real `blog` binary, or one of its parts, and stops exactly what it started.
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { startProcess } from './childProcess.mjs';

const BINARY = resolve(process.env.BLOG_BIN ?? join(import.meta.dirname, '../../target/debug/blog'));

/** The last line that each command prints once it is up. */
const LAST_WORDS = { run: 'open', page: 'open', backend: 'console', posts: 'posts' };

/**
 * @typedef {object} Blog
 * @property {Readonly<Record<string, string>>} urls by the name of the part, and `open`: what to open in a browser
 * @property {() => Promise<void>} kill at once, like a crash; nothing is drained
 * @property {() => Promise<void>} stop
 */

/**
 * @param {keyof typeof LAST_WORDS} command
 * @param {Record<string, string>} [settings] its environment; nothing else of ours reaches it
 * @returns {Promise<Blog>}
 */
export async function startBlog(command, settings = {}) {
  // Its own folder: for the database, and so that no `.env` of the tree is read.
  const prepare = (/** @type {string} */ folder) =>
    Promise.resolve({ PATH: process.env.PATH, RUST_LOG: 'warn', BLOG_DATA_DIR: folder, ...ANY_PORT, ...settings });
  /** @param {import('./childProcess.mjs').Output} output */
  const readStart = ({ stdout }) => readUrls(stdout, LAST_WORDS[command]);
  const blog = await startProcess(`blog ${command}`, BINARY, [command], prepare, readStart);
  return { urls: blog.told, kill: blog.kill, stop: blog.stop };
}

const ANY_PORT = { FRONTEND_PORT: '0', BACKEND_PORT: '0', POSTS_SERVICE_PORT: '0', CONSOLE_PORT: '0' };

/**
 * @param {import('node:stream').Readable} output
 * @param {string} lastWord
 * @returns {Promise<Record<string, string>>}
 */
async function readUrls(output, lastWord) {
  /** @type {Record<string, string>} */
  const urls = {};
  for await (const line of createInterface({ input: output })) {
    const [, name, url] = /^(\w+)\s+(http:\/\/\S+)/.exec(line) ?? [];
    if (name === undefined || url === undefined) continue;
    urls[name] = url;
    if (name === lastWord) return urls;
  }
  throw new Error(`no line “${lastWord}” was printed`);
}

/** A port that nobody listens on, for a part that must come back to the same one. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return String(address.port);
}
