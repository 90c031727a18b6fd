// The suite's parts, from where they lie: the release from npm, or a checkout of its repository.
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/**
 * @typedef {object} Suite
 * @property {string} edition under which `answers.json` has it: "release" or "newest"
 * @property {string} name
 * @property {Test[]} tests those that can be asked of a proxy
 * @property {Handlers} handlers of its origin
 * @property {(base: string) => Promise<import('./score.mjs').Results>} run asks all of them of the cache at `base`
 */
/** @typedef {{ id: string, kind?: 'required' | 'optimal' | 'check', depends_on?: string[], browser_only?: boolean }} Test */
/** @typedef {(segments: string[], request: import('node:http').IncomingMessage, response: import('node:http').ServerResponse) => void} Handler */
/** @typedef {{ config: Handler, test: Handler, state: Handler }} Handlers */

/** What npm has: older than the repository, with a group of tests that it leaves to those who ask. */
export async function loadRelease() {
  const folder = join(import.meta.dirname, 'node_modules/http-cache-tests');
  const [{ default: groups }, { default: surrogates }, { default: fetch }, { default: about }] = await Promise.all([
    load(folder, 'tests/index.mjs'),
    load(folder, 'tests/surrogate-control.mjs'),
    import('node-fetch'),
    import('http-cache-tests/package.json', { with: { type: 'json' } }),
  ]);
  const { runTests, getResults } = await load(folder, 'client/runner.mjs');
  const all = [...groups, surrogates];
  return suite('release', `http-cache-tests ${about.version}`, folder, all, async (base) => {
    await runTests(all, fetch, false, base);
    return getResults();
  });
}

/** @param {string} folder a checkout whose own dependencies are installed */
export async function loadCheckout(folder) {
  const { default: groups } = await load(folder, 'tests/index.mjs');
  const { runTests, getResults } = await load(folder, 'test-engine/client/runner.mjs');
  return suite('newest', `cache-tests at ${folder}`, join(folder, 'test-engine'), groups, async (base) => {
    await runTests(groups, false, base);
    return getResults();
  });
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
 */
function load(folder, path) {
  return import(pathToFileURL(join(folder, path)).href);
}
