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
 * @param {string} [shared] the server that several share
 */
export async function startLarder(binary, upstream, policy, shared) {
  const flags = ['--upstream', upstream, '--listen', '127.0.0.1:0', '--policy', policy, '--log', 'info'];
  if (shared !== undefined) flags.push('--shared', shared);
  const child = spawn(binary, ['serve', ...flags], { stdio: ['ignore', 'inherit', 'pipe'] });
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
      inLog(log, /listening on (http:\/\/\S+)/),
      gone.then(() => Promise.reject(new Error('larder ended before it listened'))),
      tooLate(),
    ]);
    // Nothing is kept until it has heard of the others.
    if (shared !== undefined) await Promise.race([inLog(log, / INFO (.+ answers)$/), tooLate()]);
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
 * @param {RegExp} words
 * @returns {Promise<string>}
 */
function inLog(log, words) {
  return new Promise((found) => {
    log.on('line', function look(line) {
      const [, part] = words.exec(line) ?? [];
      if (part === undefined) return;
      log.off('line', look);
      found(part);
    });
  });
}

/** @returns {Promise<never>} */
function tooLate() {
  return new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`larder did not start within ${START_MS} ms`)), START_MS).unref();
  });
}
