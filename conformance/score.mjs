// What the suite's raw results mean.

/** @typedef {Record<string, true | [name: string, message: string]>} Results by test */
/** @typedef {{ id: string, kind: 'required' | 'optimal' | 'check', verdict: string }} Verdict */

const GOOD = ['pass', 'yes'];

/**
 * As the suite's own pages judge: a test counts only if those that it depends on have passed, and one
 * whose preparation went wrong says nothing about the cache.
 * @param {import('./suite.mjs').Test[]} tests
 * @param {Results} results
 * @returns {Verdict[]}
 */
export function judge(tests, results) {
  const byId = new Map(tests.map((test) => [test.id, test]));
  /** @type {Map<string, string>} */
  const verdicts = new Map();

  /**
   * @param {string} id
   * @returns {string}
   */
  function verdictOf(id) {
    const known = verdicts.get(id) ?? look(id);
    verdicts.set(id, known);
    return known;
  }

  /** @param {string} id */
  function look(id) {
    const result = results[id];
    if (result === undefined) return 'untested';
    if (!(byId.get(id)?.depends_on ?? []).every((other) => GOOD.includes(verdictOf(other)))) return 'dependency';
    const isCheck = byId.get(id)?.kind === 'check';
    if (result === true) return isCheck ? 'yes' : 'pass';
    const [name, message] = result;
    if (name === 'Setup') return message === 'retry' ? 'retry' : 'setup';
    if (name === 'AbortError') return 'harness';
    return isCheck ? 'no' : 'fail';
  }

  return tests.map(({ id, kind = 'required' }) => ({ id, kind, verdict: verdictOf(id) }));
}

/**
 * @param {Verdict[]} verdicts
 * @returns {Record<string, { good: number, all: number }>}
 */
export function tally(verdicts) {
  /** @type {Record<string, { good: number, all: number }>} */
  const kinds = {};
  for (const { kind, verdict } of verdicts) {
    const count = (kinds[kind] ??= { good: 0, all: 0 });
    count.all += 1;
    if (GOOD.includes(verdict)) count.good += 1;
  }
  return kinds;
}
