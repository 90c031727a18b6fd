// Of a long list few rows are drawn, and those in sight are among them.
import { expect, test } from 'vitest';
import { windowOf } from './rowWindow';

test.each([
  [0, 0, 600, { first: 0, last: -1 }],
  [3, 0, 600, { first: 0, last: 2 }],
  [1_000_000, 0, 600, { first: 0, last: 23 }],
  [1_000_000, 20_000_000, 600, { first: 499_992, last: 500_023 }],
  [1_000_000, 39_999_400, 600, { first: 999_977, last: 999_999 }],
  // It was longer when it was scrolled.
  [10, 90_000, 600, { first: 1, last: 9 }],
])('of %i rows, scrolled to %i', (count, scrolledPx, boxPx, expected) => {
  expect(windowOf(count, 40, scrolledPx, boxPx)).toEqual(expected);
});
