// From what the query cache knows to what is drawn, and how far the request came.
import { describe, expect, test } from 'vitest';
import { AskFailed } from '../../../wire/ask';
import type { Measure, Trouble } from '../../../wire/ask';
import { UNSAID } from '../../../wire/cacheStatus';
import type { Verdict } from '../../../wire/cacheStatus';
import { postView } from './postView';
import { routeOf } from '../gauge/route';

const CHOICE = { kind: 'post', id: 3 } as const;
const POST = { id: 3, title: 'T', content: 'C', department: 'D', author: 'A', created_at: new Date(0) };
const measureOf = (verdict: Measure['verdict']): Measure => ({
  ms: 7,
  verdict,
  serverTiming: new Map([['origin', 6]]),
});
const ANSWER = { value: POST, measure: measureOf({ kind: 'hit', ageSeconds: 1, ttlSeconds: 9 }) };
const failed = (trouble: Trouble, verdict: Measure['verdict'] = UNSAID) => new AskFailed(trouble, measureOf(verdict));
const MISS = { kind: 'miss', reason: 'uri-miss', collapsed: false, ttlSeconds: null } as const;

describe('the chosen post', () => {
  test('is none, or unreadable without asking anybody', () => {
    const idle = { isFetching: false, data: undefined, error: null };
    expect(postView({ kind: 'none' }, idle)).toEqual({ kind: 'none' });
    expect(postView({ kind: 'unreadable', text: 'abc' }, idle)).toMatchObject({
      kind: 'failed',
      id: null,
      measure: null,
    });
  });

  test('is loading before anything is known of it, and can be read while it loads again', () => {
    expect(postView(CHOICE, { isFetching: true, data: undefined, error: null })).toEqual({
      kind: 'loading',
      id: 3,
      last: null,
    });
    expect(postView(CHOICE, { isFetching: true, data: ANSWER, error: null })).toMatchObject({
      kind: 'loading',
      last: POST,
    });
  });

  test('is loading while a failed load is tried again', () => {
    const error = failed({ kind: 'unreachable' });
    expect(postView(CHOICE, { isFetching: true, data: undefined, error }).kind).toBe('loading');
  });

  test('is live with its measure', () => {
    expect(postView(CHOICE, { isFetching: false, data: ANSWER, error: null })).toMatchObject({
      kind: 'live',
      post: POST,
      measure: { ms: 7 },
    });
  });

  test('stays readable when loading it again fails', () => {
    const error = failed({ kind: 'refused', status: 503, said: 'Posts service unavailable (connection error)' }, MISS);
    expect(postView(CHOICE, { isFetching: false, data: ANSWER, error })).toMatchObject({
      kind: 'failed',
      last: POST,
      problem: { title: 'The posts service is down' },
    });
  });
});

describe('the way of a load', () => {
  const wayOf = (error: Error) => routeOf(postView(CHOICE, { isFetching: false, data: undefined, error }));

  test('ends at Larder for a hit', () => {
    const route = routeOf(postView(CHOICE, { isFetching: false, data: ANSWER, error: null }));
    expect(route).toMatchObject({ toLarder: 'gone', toOrigin: 'quiet' });
  });

  test('goes by what backends share, where there is something, and ends there for a hit in it', () => {
    const wayFor = (verdict: Verdict) => {
      const data = { value: POST, measure: measureOf(verdict) };
      return routeOf(postView(CHOICE, { isFetching: false, data, error: null }), false, true);
    };
    const times = { ageSeconds: 1, ttlSeconds: 9 };
    expect(wayFor({ kind: 'hit', ...times })).toMatchObject({ toShared: 'quiet', toOrigin: 'quiet' });
    expect(wayFor({ kind: 'shared', ...times })).toMatchObject({ toShared: 'gone', toOrigin: 'quiet' });
    expect(wayFor(MISS)).toMatchObject({ toShared: 'gone', toOrigin: 'gone' });
  });

  test('breaks before Larder when the backend is unreachable', () => {
    expect(wayOf(failed({ kind: 'unreachable' }))).toMatchObject({ toLarder: 'broken', toOrigin: 'quiet' });
  });

  test('breaks behind Larder when the posts service is', () => {
    expect(wayOf(failed({ kind: 'refused', status: 503, said: '' }, MISS))).toMatchObject({
      toLarder: 'gone',
      toOrigin: 'broken',
      originMs: null,
    });
  });

  test('does not break for a post that does not exist: somebody answered', () => {
    const error = failed({ kind: 'refused', status: 404, said: 'Post with ID 3 not found' }, MISS);
    expect(wayOf(error)).toMatchObject({ toLarder: 'gone', toOrigin: 'gone', originMs: 6 });
  });

  test.each([
    ['stale-while-revalidate', false, 'later'],
    ['stale-while-revalidate', true, 'broken'],
    ['stale-if-error', false, 'broken'],
  ] as const)('goes on behind a stale answer only if somebody is there: %s, fails: %s', (reason, fails, toOrigin) => {
    const stale = { kind: 'stale', ageSeconds: 9, expiredForSeconds: 2, reason } as const;
    const data = { value: POST, measure: measureOf(stale) };
    const route = routeOf(postView(CHOICE, { isFetching: false, data, error: null }), fails);
    expect(route).toMatchObject({ toLarder: 'gone', toOrigin });
  });
});
