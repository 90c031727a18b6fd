// Seconds become sums, columns and paths, and none is counted twice.
import { describe, expect, test } from 'vitest';
import { secondOf } from '../testing/FakeAdmin';
import { spellsOf } from './failures';
import { scaleOf, stackPaths } from './stack';
import { COLUMNS, columnsOf, sumOf, within } from './window';

const samples = Array.from({ length: 3600 }, (_, at) => secondOf(7200 + at));

describe('a stretch of time', () => {
  test('has the seconds up to its end', () => {
    expect(within(samples, 7300, 120).map(({ second }) => second)).toEqual(samples.slice(0, 101).map(({ second }) => second));
    expect(within(samples, 7320, 120)).toHaveLength(120);
    expect(within([], 7320, 120)).toEqual([]);
  });

  test.each([120, 600, 3600])('of %i seconds is as many columns, which come to the same', (seconds) => {
    const end = 7200 + 3599;
    const columns = columnsOf(samples, end, seconds);
    expect(columns).toHaveLength(COLUMNS);
    expect(columns.reduce((sum, column) => sum + column.sum.hit, 0)).toBe(sumOf(within(samples, end, seconds)).hit);
  });

  test('keeps its columns while a second goes by', () => {
    const [one, other] = [columnsOf(samples, 10_000, 600), columnsOf(samples, 10_001, 600)];
    expect(other.slice(0, -2)).toEqual(one.slice(0, -2));
  });
});

describe('a chart', () => {
  test.each([
    [0, 1],
    [Number.NaN, 1],
    [0.3, 0.5],
    [1, 1],
    [3, 5],
    [391, 500],
    [501, 1000],
  ])('for %d at most goes up to %d', (most, scale) => {
    expect(scaleOf(most)).toBe(scale);
  });

  test('stands each layer on those below it, and leaves a gap where nothing is known', () => {
    expect(stackPaths([[1, 1], null, [0, 2]], 2)).toEqual([
      'M0 0.5h0.33333v0.5h-0.33333z',
      'M0 0h0.33333v0.5h-0.33333zM0.66667 0h0.33333v1h-0.33333z',
    ]);
    expect(stackPaths([], 1)).toEqual([]);
  });
});

test('failures that follow each other closely are one spell, the newest first', () => {
  const failing = (second: number) => secondOf(second, { origin_failures: 2, origin_calls: 3, reader_errors: 1, refused: 1 });
  expect(spellsOf([failing(10), secondOf(11), failing(15), secondOf(16), failing(60)])).toEqual([
    { from: 60, to: 60, failures: 2, calls: 3, errors: 1, refused: 1 },
    { from: 10, to: 15, failures: 4, calls: 6, errors: 2, refused: 2 },
  ]);
  expect(spellsOf([secondOf(1)])).toEqual([]);
});
