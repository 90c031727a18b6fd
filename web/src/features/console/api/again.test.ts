// What is shown is asked for again and again, whatever became of it the last time.
import { expect, test } from 'vitest';
import { AskFailed } from '../../../wire/ask';
import { again, againOnceTold } from './again';

const failed = (trouble: AskFailed['trouble']) => new AskFailed(trouble, { ms: 1, verdict: { kind: 'unsaid' }, serverTiming: new Map() });
const gone = failed({ kind: 'unreachable' });

test.each([
  ['what was told', null, [], 5000, 5000],
  ['what was told and is old', gone, [], 5000, 5000],
  ['what failed before it was told', gone, undefined, 5000, false],
  ['what the server does not tell', failed({ kind: 'refused', status: 404, said: '' }), [], false, false],
])('%s', (_, error, data, ms, onceTold) => {
  expect(again(5000)({ state: { error, data } })).toBe(ms);
  expect(againOnceTold(5000)({ state: { error, data } })).toBe(onceTold);
});
