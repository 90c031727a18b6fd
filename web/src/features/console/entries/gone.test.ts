// Which keys that went are shown, and what is said where there are none.
import { describe, expect, test } from 'vitest';
import type { GoneKey } from '../api/gone';
import { causeWords, chosenOf, countsOf, noneWords, readGone } from './gone';

const at = new Date('2026-11-30T12:00:00Z');
const one = (cause: string, what: string | null = null): GoneKey => ({
  cache: 'larder',
  key: `https://a.example/${cause}`,
  cause,
  at,
  purge: what === null ? null : { what, mode: 'hard', at },
});
const GONE = [one('purged', 'tag a'), one('purged', 'tag b'), one('purged'), one('evicted'), one('melted')];

describe('what went', () => {
  test.each([
    ['', '', 5],
    ['purged', '', 3],
    ['purged', 'tag a', 1],
    ['', 'tag b', 1],
    ['evicted', 'tag a', 0],
    ['expired', '', 0],
  ] as const)('by cause “%s” and purge “%s”', (cause, by, count) => {
    expect(chosenOf(GONE, { cause, by })).toHaveLength(count);
  });

  test('is counted by cause, what is unknown included', () => {
    expect(countsOf(GONE)).toEqual([
      ['purged', 3],
      ['evicted', 1],
      ['melted', 1],
    ]);
    expect(countsOf([])).toEqual([]);
    expect(causeWords('melted')).toBe('melted');
  });

  test('is chosen as the address says it', () => {
    expect(readGone(new URLSearchParams('show=gone&by=tag+a&cause=purged&prefix=x'))).toEqual({
      key: '',
      prefix: 'x',
      cache: '',
      cause: 'purged',
      by: 'tag a',
    });
    expect(readGone(new URLSearchParams('cause=melted')).cause).toBe('');
  });

  test('and where it is none, that has its reason', () => {
    const none = readGone(new URLSearchParams());
    expect(noneWords(none)).toMatch(/^Nothing went lately/);
    expect(noneWords({ ...none, key: 'k', by: 'tag a' })).toMatch(/^That this key went/);
    expect(noneWords({ ...none, by: 'tag a' })).toMatch(/A soft one takes nothing out/);
    expect(noneWords({ ...none, prefix: 'x' })).toBe('Nothing that went lately fits that.');
  });
});
