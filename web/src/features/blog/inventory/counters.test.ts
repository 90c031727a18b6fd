// The states of the event stream.
import { describe, expect, test } from 'vitest';
import { nextCounters } from './counters';

const POSTS = { name: 'posts', hits: 3, misses: 2, fetches: 2, collapsed: 9, entries: 1, bytes: 5, max_bytes: 6, stale_served: 4, hit_rate: 0.75, lower: { hits: 0, misses: 0 } };
const heard = (data: unknown) => ({ kind: 'heard', data: JSON.stringify(data) }) as const;
const CONNECTING = { kind: 'connecting' } as const;
const LIVE = { kind: 'live', stats: POSTS } as const;

describe('the counters', () => {
  test('show the posts cache among all that are counted', () => {
    const others = { ...POSTS, name: 'others', hits: 0 };
    expect(nextCounters(CONNECTING, heard({ uptime_seconds: 1, caches: [others, POSTS] }))).toEqual(LIVE);
  });

  test('count nothing stale when the console does not say', () => {
    const older = { ...POSTS, stale_served: undefined };
    const stats = { ...POSTS, stale_served: 0 };
    expect(nextCounters(CONNECTING, heard({ caches: [older] }))).toEqual({ kind: 'live', stats });
  });

  test('have no hit rate when the console does not say, or nothing was looked up', () => {
    const stats = { ...POSTS, hit_rate: null };
    for (const hit_rate of [undefined, null]) {
      expect(nextCounters(CONNECTING, heard({ caches: [{ ...POSTS, hit_rate }] }))).toEqual({ kind: 'live', stats });
    }
  });

  test('keep their last numbers when the connection is lost, and are live again with the next', () => {
    const lost = nextCounters(LIVE, { kind: 'dropped' });
    expect(lost).toEqual({ kind: 'lost', last: POSTS });
    expect(nextCounters(lost, { kind: 'dropped' })).toEqual(lost);
    expect(nextCounters(lost, heard({ caches: [POSTS] }))).toEqual(LIVE);
  });

  test('wait for a hand when the browser has given up', () => {
    const closed = nextCounters(LIVE, { kind: 'gave-up' });
    expect(closed).toEqual({ kind: 'closed', last: POSTS });
    expect(nextCounters(closed, { kind: 'opening' })).toEqual(CONNECTING);
  });

  test('say so when there is nothing to count', () => {
    expect(nextCounters(CONNECTING, heard({ caches: [] }))).toEqual({ kind: 'nothing-counted' });
  });

  test.each(['', 'nonsense', '{"caches":[{"name":"posts"}]}', undefined])('survive the message %j', (data) => {
    expect(nextCounters(LIVE, { kind: 'heard', data })).toEqual({ kind: 'lost', last: POSTS });
  });
});
