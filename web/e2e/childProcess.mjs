// Starts a program in a folder of its own, reads what it prints until it is up, and stops exactly what it started.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const START_MS = 15_000;

/** @typedef {{ stdout: import('node:stream').Readable, stderr: import('node:stream').Readable }} Output */

/**
 * @template T
 * @param {string} name what it is called when it fails
 * @param {string} binary
 * @param {string[]} args
 * @param {(folder: string) => Promise<NodeJS.ProcessEnv>} prepare puts into the folder what it needs, and says what its
 *   environment is: nothing else of ours reaches it
 * @param {(output: Output) => Promise<T>} readStart ends once it is up
 * @returns {Promise<{ told: T, pid: number, kill: () => Promise<void>, stop: () => Promise<void> }>} `told`: what was read;
 *   `kill` is at once, like a crash: nothing is drained
 */
export async function startProcess(name, binary, args, prepare, readStart) {
  const folder = await mkdtemp(join(tmpdir(), 'larder-e2e-'));
  const env = await prepare(folder);
  const child = spawn(binary, args, { cwd: folder, env, stdio: ['ignore', 'pipe', 'pipe'] });
  let complaints = '';
  child.stderr.on('data', (/** @type {Buffer} */ chunk) => (complaints += chunk.toString()));
  const gone = once(child, 'exit');

  /** @param {NodeJS.Signals} signal */
  const end = async (signal) => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await gone;
    await rm(folder, { recursive: true, force: true });
  };

  const told = await Promise.race([
    readStart(child),
    gone.then(() => Promise.reject(new Error(`${name} ended before it was up:\n${complaints}`))),
    tooLate(() => `${name} was not up within ${START_MS} ms:\n${complaints}`),
  ]).catch(async (/** @type {unknown} */ error) => {
    await end('SIGKILL');
    throw error;
  });
  // Whatever else it prints must be read, or its pipe fills up and it stands still.
  child.stdout.resume();
  child.stderr.resume();
  return { told, pid: child.pid ?? 0, kill: () => end('SIGKILL'), stop: () => end('SIGTERM') };
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
