// The built console before an admin API in memory, with the content security policy of the real one.
import { createServer } from 'node:http';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { extname, join, resolve } from 'node:path';
import { createServer as createVite } from 'vite';

const BUILT = resolve(process.env.CONSOLE_DIST ?? join(import.meta.dirname, '../../crates/larder-admin/console/built'));

/** As `larder-admin` says it. */
const POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
  "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const KINDS = /** @type {Record<string, string>} */ ({
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
});

/**
 * @typedef {object} ConsoleServer
 * @property {string} url
 * @property {import('../src/features/console/testing/FakeAdmin').FakeAdmin} admin what it is the console of
 * @property {() => Promise<void>} stop
 */

/**
 * @param {{ isTicking?: boolean }} [options] whether seconds go by of themselves
 * @returns {Promise<ConsoleServer>}
 */
export async function startConsole({ isTicking = true } = {}) {
  const vite = await createVite({ root: join(import.meta.dirname, '..'), configFile: false, server: { middlewareMode: true, hmr: false, watch: null }, logLevel: 'error', appType: 'custom', optimizeDeps: { noDiscovery: true } });
  const loading = vite.ssrLoadModule('/src/features/console/testing/FakeAdmin.ts').catch(async (/** @type {unknown} */ error) => {
    // What is still open would keep the test's process.
    await vite.close();
    throw error;
  });
  const { FakeAdmin } = /** @type {typeof import('../src/features/console/testing/FakeAdmin')} */ (await loading);
  const admin = new FakeAdmin(undefined, 3000);
  // As a gateway does.
  admin.tellsRequests = true;
  const clock = isTicking ? setInterval(() => admin.pass(), 1000) : undefined;

  const server = createServer((request, response) => {
    void answer(admin, request, response).catch((/** @type {unknown} */ error) => {
      response.statusCode = 500;
      response.end(String(error));
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return {
    url: `http://127.0.0.1:${address.port}/`,
    admin,
    stop: async () => {
      clearInterval(clock);
      server.closeAllConnections();
      server.close();
      await vite.close();
    },
  };
}

/**
 * @param {ConsoleServer['admin']} admin
 * @param {import('node:http').IncomingMessage} request
 * @param {import('node:http').ServerResponse} response
 */
async function answer(admin, request, response) {
  const url = new URL(request.url ?? '/', 'http://127.0.0.1');
  if (!url.pathname.startsWith('/v1/')) {
    const name = url.pathname === '/' ? 'console.html' : url.pathname.slice(1);
    const file = await readFile(join(BUILT, name)).catch(() => null);
    response.statusCode = file === null ? 404 : 200;
    response.setHeader('content-security-policy', POLICY);
    response.setHeader('content-type', KINDS[extname(name)] ?? 'application/octet-stream');
    response.end(file ?? '');
    return;
  }
  const gone = new AbortController();
  response.on('close', () => gone.abort());
  let posted = '';
  request.setEncoding('utf8');
  for await (const piece of request) posted += String(piece);
  const { authorization } = request.headers;
  /** @type {RequestInit} */
  const init = { method: request.method ?? 'GET', signal: gone.signal };
  if (authorization !== undefined) init.headers = { authorization };
  if (posted !== '') init.body = posted;
  const told = await admin.fetch(url, init);
  response.writeHead(told.status, Object.fromEntries(told.headers));
  response.flushHeaders();
  if (told.body === null) return void response.end();
  const reader = told.body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      response.write(value);
    }
  } catch {
    // Whoever listened has gone.
  }
  response.end();
}
