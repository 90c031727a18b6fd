// Evictions of the last hour, and of less where less is known.
import { expect, test } from 'vitest';
import { secondOf } from '../testing/FakeAdmin';
import { evictedIn } from './memory';

const seconds = (from: number, count: number, evictions: number) =>
  Array.from({ length: count }, (_, at) => ({ ...secondOf(from + at), evictions }));

test('nothing is said where nothing is known', () => {
  expect(evictedIn([], 5000)).toBeNull();
});

test('an hour is counted, and no second before it', () => {
  expect(evictedIn(seconds(10_000, 3600, 2), 5000)).toMatchObject({ count: 7200, isHour: true });
  expect(evictedIn(seconds(10_000, 4000, 1), 0)).toMatchObject({ count: 3600, isHour: true });
});

test('of a server that began lately it is said since when', () => {
  expect(evictedIn(seconds(10_000, 60, 3), 60)).toEqual({ count: 180, since: new Date(10_000_000), isHour: false });
});

test('of a server that was started anew nothing is told that the process before let go', () => {
  expect(evictedIn(seconds(10_000, 3600, 1), 59.2)).toEqual({ count: 60, since: new Date(13_539_000), isHour: false });
});
