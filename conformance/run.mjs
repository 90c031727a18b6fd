// Runs the public tests for HTTP caches (cache-tests.fyi) against a real `larder serve`, and compares
// what came out with what `answers.json` says.
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startLarder } from './larder.mjs';
import { startOrigin } from './origin.mjs';
import { judge, tally } from './score.mjs';
import { loadRelease, loadCheckout } from './suite.mjs';

const USAGE = `Usage: node run.mjs [--larder FILE] [--suite DIR] [--list] [--accept | --policy guarded]
  --larder FILE     the built binary; otherwise $LARDER_BIN, otherwise target/debug/larder
  --suite DIR       a checkout of the suite's repository, instead of the release from npm
  --list            name each test that was not passed
  --accept          write what came out into answers.json, instead of comparing
  --policy guarded  count and list under the other preset; answers.json says nothing of it`;
const ANSWERS = join(import.meta.dirname, 'answers.json');
const REASONS = join(import.meta.dirname, '../docs/conformance.md');

const options = readOptions();
const suite = options.suite ? await loadCheckout(resolve(options.suite)) : await loadRelease();
const results = await run(suite, resolve(options.larder), options.policy);
const verdicts = judge(suite.tests, results);
console.log(counts(suite, verdicts));

const outcome = outcomeOf(suite, verdicts);
const recorded = JSON.parse(await readFile(ANSWERS, 'utf8'));
if (options.list || options.policy !== 'standard') console.log(unmet(verdicts, results));
if (options.policy !== 'standard') process.exit();
if (options.accept) {
  recorded[suite.edition] = outcome;
  await writeFile(ANSWERS, `${JSON.stringify(recorded, null, 2)}\n`);
} else {
  const differences = [
    ...compare(recorded[suite.edition], outcome),
    ...unexplained(outcome, await readFile(REASONS, 'utf8')),
  ];
  for (const difference of differences) console.error(difference);
  if (differences.length > 0) process.exitCode = 1;
  else console.log('  as recorded: docs/conformance.md has the reason of each that is not passed, and of each answer');
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        larder: {
          type: 'string',
          default: process.env.LARDER_BIN ?? join(import.meta.dirname, '../target/debug/larder'),
        },
        suite: { type: 'string' },
        list: { type: 'boolean', default: false },
        policy: { type: 'string', default: 'standard' },
        accept: { type: 'boolean', default: false },
      },
    });
    return values;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : error}\n${USAGE}`);
    process.exit(2);
  }
}

/**
 * Origin, cache, and the suite's own reader; whatever happens, the first two are stopped.
 * @param {import('./suite.mjs').Suite} suite
 * @param {string} binary
 * @param {string} policy
 * @returns {Promise<import('./score.mjs').Results>}
 */
async function run(suite, binary, policy) {
  const origin = await startOrigin(suite.handlers);
  try {
    const larder = await startLarder(binary, origin.url, policy);
    const stopOnSignal = () => void larder.stop().finally(() => process.exit(1));
    process.once('SIGINT', stopOnSignal).once('SIGTERM', stopOnSignal);
    try {
      return await suite.run(larder.url);
    } finally {
      process.off('SIGINT', stopOnSignal).off('SIGTERM', stopOnSignal);
      await larder.stop();
    }
  } finally {
    await origin.stop();
  }
}

/**
 * @param {import('./suite.mjs').Suite} suite
 * @param {import('./score.mjs').Verdict[]} verdicts
 */
function counts(suite, verdicts) {
  const lines = [`${suite.name}: ${verdicts.length} tests for a proxy`];
  for (const [kind, { good, all }] of Object.entries(tally(verdicts))) {
    const word = kind === 'check' ? 'answered yes' : 'passed';
    lines.push(`  ${kind.padEnd(8)} ${String(good).padStart(3)} of ${String(all).padStart(3)} ${word}`);
  }
  return lines.join('\n');
}

/**
 * @param {import('./score.mjs').Verdict[]} verdicts
 * @param {import('./score.mjs').Results} results
 */
function unmet(verdicts, results) {
  const lines = [];
  for (const { id, kind, verdict } of verdicts) {
    if (kind === 'check' || verdict === 'pass') continue;
    const result = results[id];
    lines.push(`  ${verdict}: ${kind} ${id}${Array.isArray(result) ? `: ${result[1]}` : ''}`);
  }
  return lines.join('\n');
}

/**
 * What `answers.json` keeps of a run.
 * @typedef {{ unmet: Record<string, string>, answers: Record<string, string> }} Outcome
 * @param {import('./suite.mjs').Suite} suite
 * @param {import('./score.mjs').Verdict[]} verdicts
 * @returns {Outcome}
 */
function outcomeOf(suite, verdicts) {
  const entries = verdicts.map(({ id, kind, verdict }) => ({ id, kind, verdict }));
  const isCheck = (/** @type {{ kind: string }} */ { kind }) => kind === 'check';
  const byId = (/** @type {typeof entries} */ list) =>
    Object.fromEntries(list.map(({ id, verdict }) => [id, verdict]).sort());
  return {
    unmet: byId(entries.filter((entry) => !isCheck(entry) && entry.verdict !== 'pass')),
    answers: byId(entries.filter(isCheck)),
  };
}

/**
 * @param {Outcome} [expected]
 * @param {Outcome} [found]
 */
function compare(expected, found) {
  const differences = [];
  for (const part of /** @type {const} */ (['unmet', 'answers'])) {
    const [was, is] = [expected?.[part] ?? {}, found?.[part] ?? {}];
    for (const id of new Set([...Object.keys(was), ...Object.keys(is)])) {
      if (was[id] === is[id]) continue;
      const usual = part === 'unmet' ? 'pass' : 'no such test';
      differences.push(`changed: ${id} was “${was[id] ?? usual}” and is “${is[id] ?? usual}”`);
    }
  }
  return differences;
}

/**
 * Each answer was chosen, so each has its reason.
 * @param {Outcome} outcome
 * @param {string} reasons
 */
function unexplained({ unmet, answers }, reasons) {
  const ids = [...Object.keys(unmet), ...Object.keys(answers)];
  return ids.filter((id) => !reasons.includes(`\`${id}\``)).map((id) => `no reason is given for ${id}`);
}
