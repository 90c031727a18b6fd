// The suite's parts, from where they lie: the release from npm, or a checkout of its repository.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { alternating } from './alternate.mjs';

/**
 * @typedef {object} Suite
 * @property {string} edition under which `answers.json` has it: "release" or "newest"
 * @property {string} name
 * @property {Test[]} tests those that can be asked of a proxy
 * @property {Handlers} handlers of its origin
 * @property {(bases: string[], ids?: Set<string>) => Promise<import('./score.mjs').Results>} run asks all of them, or these
 *   once more, of the caches there, in turn
 */
/** @typedef {{ id: string, kind?: 'required' | 'optimal' | 'check', depends_on?: string[], browser_only?: boolean }} Test */
/** @typedef {(segments: string[], request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => void} Handler */
/** @typedef {{ config: Handler, test: Handler, state: Handler }} Handlers */

/**
 * Usually it is a hundred. So many at once may make a server too slow for the time that it is given, and then a cache goes
 * to the origin instead, as it should.
 */
const FEW_AT_ONCE = 20;

/** What npm has: older than the repository, with a group of tests that it leaves to those who ask. */
export async function loadRelease() {
  const folder = join(import.meta.dirname, 'node_modules/http-cache-tests');
  const [{ default: groups }, { default: surrogates }, { default: fetch }, { default: about }] = await Promise.all([
    load(folder, 'tests/index.mjs'),
    load(folder, 'tests/surrogate-control.mjs'),
    import('node-fetch'),
    import('http-cache-tests/package.json', { with: { type: 'json' } }),
  ]);
  const { testResults } = await load(folder, 'client/test.mjs');
  const all = [...groups, surrogates];
  let turns = 0;
  return suite('release', `http-cache-tests ${about.version}`, folder, all, async (bases, ids) => {
    // It asks all that it was ever told to, and nothing twice.
    turns += 1;
    const { runTests, getResults } = await load(folder, 'client/runner.mjs', turns);
    for (const id of ids ?? []) delete testResults[id];
    const asked = ids === undefined ? all : only(all, ids);
    if (bases.length > 1) await runTests(asked, alternating(fetch, bases), false, bases[0], FEW_AT_ONCE);
    else await runTests(asked, fetch, false, bases[0]);
    return getResults();
  });
}

/** @param {string} folder a checkout whose own dependencies are installed */
export async function loadCheckout(folder) {
  const { default: groups } = await load(folder, 'tests/index.mjs');
  const { runTests, getResults } = await load(folder, 'test-engine/client/runner.mjs');
  return suite('newest', `cache-tests at ${folder}`, join(folder, 'test-engine'), groups, async (bases) => {
    if (bases.length > 1) throw new Error('only the release can be told where to send its requests');
    await runTests(groups, false, bases[0]);
    return getResults();
  });
}

/**
 * @param {{ tests: Test[] }[]} groups
 * @param {Set<string>} ids
 */
function only(groups, ids) {
  const some = groups.map((group) => ({ ...group, tests: group.tests.filter((test) => ids.has(test.id)) }));
  return some.filter((group) => group.tests.length > 0);
}

/**
 * @param {string} edition
 * @param {string} name
 * @param {string} engine
 * @param {{ tests: Test[] }[]} groups
 * @param {Suite['run']} run
 * @returns {Promise<Suite>}
 */
async function suite(edition, name, engine, groups, run) {
  const [config, test, state] = await Promise.all(
    ['config', 'test', 'state'].map(async (part) => (await load(engine, `server/handle-${part}.mjs`)).default),
  );
  const tests = groups.flatMap((group) => group.tests).filter((test) => test.browser_only !== true);
  return { edition, name, tests, handlers: { config, test, state }, run };
}

/**
 * @param {string} folder
 * @param {string} path
 * @param {number} [turn] each has a module of its own
 */
function load(folder, path, turn) {
  const url = pathToFileURL(join(folder, path));
  if (turn !== undefined) url.search = `${turn}`;
  return import(url.href);
}
