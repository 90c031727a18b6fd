// A redis-server on a free port that keeps nothing on disk, and its end.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';

const START_MS = 15_000;

export async function startRedis() {
  const port = await freePort();
  const options = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', tmpdir()];
  const child = spawn('redis-server', options, { stdio: ['ignore', 'ignore', 'inherit'] });
  const gone = once(child, 'exit').catch((/** @type {Error} */ error) => {
    throw new Error(`cannot start redis-server: ${error.message} (tools/install-test-deps)`);
  });
  const stop = async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
  };
  const given = new AbortController();
  const listens = async () => {
    const end = Date.now() + START_MS;
    while (!(await isOpen(port))) {
      if (Date.now() > end) throw new Error(`redis-server did not listen within ${START_MS} ms`);
      await pause(20, undefined, { signal: given.signal });
    }
  };
  try {
    await Promise.race([listens(), gone.then(() => Promise.reject(new Error('redis-server ended')))]);
    return { url: `redis://127.0.0.1:${port}`, stop };
  } catch (error) {
    given.abort();
    await stop().catch(() => undefined);
    throw error;
  }
}

/** @returns {Promise<number>} */
async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('a TCP server has a port');
  return address.port;
}

/**
 * @param {number} port
 * @returns {Promise<boolean>}
 */
function isOpen(port) {
  return new Promise((tell) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      tell(true);
    });
    socket.once('error', () => tell(false));
  });
}
