// Who got what in a crowd.
import { expect, test } from 'vitest';
import { sharesOf } from './crowdView';

const RESULT = {
  users: 5,
  answered: 5,
  failed: 0,
  fetches: 1,
  collapsed: 4,
  hits: 0,
  fastest_ms: 1,
  median_ms: 2,
  slowest_ms: 3,
};

test('each user has one share, whoever asked the posts service first', () => {
  expect(sharesOf(RESULT)).toEqual(['asked', 'waited', 'waited', 'waited', 'waited']);
});

test('a warm post is found by all', () => {
  expect(sharesOf({ ...RESULT, fetches: 0, collapsed: 0, hits: 5 })).toEqual(Array(5).fill('kept'));
});

test('without a cache everybody asks, and some get nothing', () => {
  const shares = sharesOf({ ...RESULT, fetches: 5, collapsed: 0, answered: 2, failed: 3 });
  expect(shares).toEqual(['asked', 'asked', 'failed', 'failed', 'failed']);
});

test('a failed flight leaves nobody counted twice', () => {
  expect(sharesOf({ ...RESULT, answered: 0, failed: 5 })).toEqual(Array(5).fill('failed'));
});
