// Starts the real `blog` binary, or one of its parts, and stops exactly what it started.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';

const BINARY = resolve(process.env.BLOG_BIN ?? join(import.meta.dirname, '../../target/debug/blog'));
const START_MS = 15_000;

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
  const folder = await mkdtemp(join(tmpdir(), 'blog-e2e-'));
  const child = spawn(BINARY, [command], {
    cwd: folder,
    env: { PATH: process.env.PATH, RUST_LOG: 'warn', BLOG_DATA_DIR: folder, ...ANY_PORT, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let complaints = '';
  child.stderr.on('data', (/** @type {Buffer} */ chunk) => (complaints += chunk.toString()));
  const gone = once(child, 'exit');

  /** @param {NodeJS.Signals} signal */
  const end = async (signal) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await gone;
    await rm(folder, { recursive: true, force: true });
  };

  const urls = await Promise.race([
    readUrls(child.stdout, LAST_WORDS[command]),
    gone.then(() => Promise.reject(new Error(`blog ${command} ended before it was up:\n${complaints}`))),
    tooLate(() => `blog ${command} was not up within ${START_MS} ms:\n${complaints}`),
  ]).catch(async (/** @type {unknown} */ error) => {
    await end('SIGKILL');
    throw error;
  });
  // Whatever else it prints must be read, or its pipe fills up and it stands still.
  child.stdout.resume();
  return { urls, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') };
}

const ANY_PORT = { FRONTEND_PORT: '0', BACKEND_PORT: '0', POSTS_SERVICE_PORT: '0', CONSOLE_PORT: '0' };

/**
 * @param {import('node:stream').Readable} output
 * @param {string} lastWord
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

/**
 * @param {() => string} message
 * @returns {Promise<never>}
 */
function tooLate(message) {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(message())), START_MS).unref();
  });
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
