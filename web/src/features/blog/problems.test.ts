// Each failure in words.
import { expect, test } from 'vitest';
import { AskFailed } from '../../wire/ask';
import type { Trouble } from '../../wire/ask';
import { UNSAID } from '../../wire/cacheStatus';
import { crowdProblem, listProblem, postProblem } from './problems';

const failed = (trouble: Trouble) => new AskFailed(trouble, { ms: 1, verdict: UNSAID, serverTiming: new Map() });
const refused = (status: number, said: string) => failed({ kind: 'refused', status, said });

test.each([
  [failed({ kind: 'unreachable' }), 'The backend does not answer'],
  [refused(404, 'Post with ID 9 not found'), 'There is no post 9'],
  [refused(503, 'Posts service unavailable (connection error)'), 'The posts service is down'],
  [refused(503, 'Posts service unavailable (timeout)'), 'The posts service did not pick up in time'],
  [refused(503, 'Service communication error'), 'The posts service gave no usable answer'],
  [refused(500, ''), 'The backend refused to answer'],
  [failed({ kind: 'garbled', why: 'id is not a whole number' }), 'The backend’s answer made no sense'],
])('%s has a title one understands', (error, title) => {
  expect(postProblem(error, 9).title).toBe(title);
});

test('a problem keeps the server’s own words', () => {
  expect(postProblem(refused(503, 'Service communication error'), 9).detail).toBe('Service communication error');
  expect(postProblem(refused(500, ''), 9).detail).toBe('status 500');
});

test('a missing list says that it is the list', () => {
  expect(listProblem(failed({ kind: 'unreachable' })).title).toBe('No list of posts: the backend does not answer');
});

test('a second crowd is told to wait', () => {
  expect(crowdProblem(refused(409, '')).title).toBe('Another crowd is still asking');
});
