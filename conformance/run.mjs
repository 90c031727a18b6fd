// Runs the public tests for HTTP caches (cache-tests.fyi) against a real `larder serve`, and compares
// what came out with what `answers.json` says.
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { startLarder } from './larder.mjs';
import { startOrigin } from './origin.mjs';
import { startRedis } from './redis.mjs';
import { judge, tally } from './score.mjs';
import { loadRelease, loadCheckout } from './suite.mjs';

const USAGE = `Usage: node run.mjs [--larder FILE] [--suite DIR] [--list] [--shared] [--accept | --policy guarded]
  --larder FILE     the built binary; otherwise $LARDER_BIN, otherwise target/debug/larder
  --suite DIR       a checkout of the suite's repository, instead of the release from npm
  --list            name each test that was not passed
  --shared          ask two that share over a redis-server in turn, and expect the same answers
  --accept          write what came out into answers.json, instead of comparing
  --policy guarded  count and list under the other preset; answers.json says nothing of it`;
const ANSWERS = join(import.meta.dirname, 'answers.json');
const REASONS = join(import.meta.dirname, '../docs/conformance.md');

const options = readOptions();
const suite = options.suite ? await loadCheckout(resolve(options.suite)) : await loadRelease();
const recorded = JSON.parse(await readFile(ANSWERS, 'utf8'));
const edition = options.shared ? `${suite.edition}, shared` : suite.edition;
const results = await run(suite, resolve(options.larder), options, recorded[edition]);
const verdicts = judge(suite.tests, results);
console.log(counts(suite, verdicts));

const outcome = outcomeOf(suite, verdicts);
if (options.list || options.policy !== 'standard') console.log(unmet(verdicts, results));
if (options.policy !== 'standard') process.exit();
if (options.accept) {
  recorded[edition] = outcome;
  await writeFile(ANSWERS, `${JSON.stringify(recorded, null, 2)}\n`);
} else {
  const differences = [
    ...compare(recorded[edition], outcome),
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
        shared: { type: 'boolean', default: false },
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
 * Origin, caches, and the suite's own reader; whatever happens, all but the last are stopped, in the reverse order.
 * @param {import('./suite.mjs').Suite} suite
 * @param {string} binary
 * @param {{ policy: string, shared: boolean }} how
 * @param {Outcome} [expected]
 * @returns {Promise<import('./score.mjs').Results>}
 */
async function run(suite, binary, { policy, shared }, expected) {
  /** @type {(() => Promise<void>)[]} */
  const stops = [];
  const stopAll = async () => {
    for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
  };
  const stopOnSignal = () => void stopAll().finally(() => process.exit(1));
  process.once('SIGINT', stopOnSignal).once('SIGTERM', stopOnSignal);
  try {
    const origin = await startOrigin(suite.handlers);
    stops.push(origin.stop);
    const redis = shared ? await startRedis() : undefined;
    if (redis) stops.push(redis.stop);
    const bases = [];
    for (let started = 0; started < (shared ? 2 : 1); started += 1) {
      const larder = await startLarder(binary, origin.url, policy, redis?.url);
      stops.push(larder.stop);
      bases.push(larder.url);
    }
    const results = await suite.run(bases);
    return shared ? await askAgain(suite, bases, results, expected) : results;
  } finally {
    process.off('SIGINT', stopOnSignal).off('SIGTERM', stopOnSignal);
    await stopAll();
  }
}

/**
 * Where a machine is too busy for the server to answer in time, a cache goes to the origin instead, as it should. So what came
 * out otherwise than expected is asked again, three times at most.
 * @param {import('./suite.mjs').Suite} suite
 * @param {string[]} bases
 * @param {import('./score.mjs').Results} results
 * @param {Outcome} [expected]
 */
async function askAgain(suite, bases, results, expected) {
  for (let turn = 0; turn < 3; turn += 1) {
    const ids = differing(expected, outcomeOf(suite, judge(suite.tests, results))).map(({ id }) => id);
    if (ids.length === 0) break;
    results = await suite.run(bases, new Set(ids));
  }
  return results;
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
  return differing(expected, found).map(({ id, was, is }) => `changed: ${id} was “${was}” and is “${is}”`);
}

/**
 * @param {Outcome} [expected]
 * @param {Outcome} [found]
 */
function differing(expected, found) {
  const differences = [];
  for (const part of /** @type {const} */ (['unmet', 'answers'])) {
    const [before, now] = [expected?.[part] ?? {}, found?.[part] ?? {}];
    const usual = part === 'unmet' ? 'pass' : 'no such test';
    for (const id of new Set([...Object.keys(before), ...Object.keys(now)])) {
      const [was, is] = [before[id] ?? usual, now[id] ?? usual];
      if (was !== is) differences.push({ id, was, is });
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
