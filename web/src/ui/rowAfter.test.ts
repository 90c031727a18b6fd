// Keys lead from row to row, and never out of the list.
import { expect, test } from 'vitest';
import { rowAfter } from './rowAfter';

test.each([
  ['ArrowDown', 0, 3, 1],
  ['ArrowDown', 2, 3, 2],
  ['ArrowUp', 0, 3, 0],
  ['ArrowUp', 2, 3, 1],
  ['Home', 2, 3, 0],
  ['End', 0, 1_000_000, 999_999],
  ['PageDown', 5, 100, 15],
  ['PageDown', 95, 100, 99],
  ['PageUp', 5, 100, 0],
  ['PageUp', 50, 100, 40],
  ['Enter', 1, 3, null],
  ['a', 1, 3, null],
  ['ArrowDown', -1, 0, null],
  ['End', -1, 0, null],
])('%s from %i of %i', (key, at, count, expected) => {
  expect(rowAfter(key, at, count, 10)).toBe(expected);
});
