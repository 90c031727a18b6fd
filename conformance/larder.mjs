// A real `larder serve` on a free port, and its end.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const START_MS = 15_000;
/** Answers under way may take 10 s once it is told to stop. */
const STOP_MS = 15_000;

/**
 * @param {string} binary
 * @param {string} upstream
 * @param {string} policy
 */
export async function startLarder(binary, upstream, policy) {
  const child = spawn(
    binary,
    ['serve', '--upstream', upstream, '--listen', '127.0.0.1:0', '--policy', policy, '--log', 'info'],
    { stdio: ['ignore', 'inherit', 'pipe'] },
  );
  const gone = once(child, 'exit').catch((/** @type {Error} */ error) => {
    throw new Error(`cannot start ${binary}: ${error.message} (cargo build -p larder-cli)`);
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const impatience = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    child.kill('SIGTERM');
    await gone;
    clearTimeout(impatience);
  };
  try {
    const log = createInterface({ input: child.stderr });
    const url = await Promise.race([
      addressIn(log),
      gone.then(() => Promise.reject(new Error('larder ended before it listened'))),
      tooLate(),
    ]);
    // The tests break connections on purpose, and it tells of each. What somebody must act on is shown.
    log.on('line', (line) => {
      if (line.includes(' ERROR ')) console.error(line);
    });
    return { url, stop };
  } catch (error) {
    await stop().catch(() => undefined);
    throw error;
  }
}

/**
 * @param {import('node:readline').Interface} log
 * @returns {Promise<string>}
 */
function addressIn(log) {
  return new Promise((found) => {
    log.on('line', function look(line) {
      const [, url] = /listening on (http:\/\/\S+)/.exec(line) ?? [];
      if (url === undefined) return;
      log.off('line', look);
      found(url);
    });
  });
}

/** @returns {Promise<never>} */
function tooLate() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`larder did not listen within ${START_MS} ms`)), START_MS).unref();
  });
}
