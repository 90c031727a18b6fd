// The bar of an entry's life: each part is to be seen, and the mark is in the right one.
import { describe, expect, test } from 'vitest';
import type { Freshness } from '../api/entries';
import { barOf } from './freshnessBar';
import { freshnessWords } from './freshnessWords';

const entry = (age: number, left: number | null, usable = 60, rescue = 600): Freshness => ({
  age_seconds: age,
  state: 'fresh',
  fresh_for_seconds: left,
  stale_while_revalidate_seconds: usable,
  stale_if_error_seconds: rescue,
});

describe('the bar', () => {
  test('has the parts that are there, and the rescue is what is longer than plain use', () => {
    expect(barOf(entry(100, 200))?.parts.map(({ name, seconds }) => [name, seconds])).toEqual([
      ['fresh', 300],
      ['stale-usable', 60],
      ['rescue', 540],
    ]);
    expect(barOf(entry(0, 10, 0, 0))?.parts.map(({ name }) => name)).toEqual(['fresh']);
    expect(barOf(entry(5, -5, 0, 0))).toEqual({ parts: [], at: 1 });
    expect(barOf(entry(5, null))).toBeNull();
  });

  test('is whole, and no part of it is too small to be seen', () => {
    for (const bar of [barOf(entry(1, 1, 86_400, 604_800)), barOf(entry(0, 604_800, 1, 2))]) {
      const shares = bar?.parts.map(({ share }) => share) ?? [];
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1);
      expect(Math.min(...shares)).toBeGreaterThan(0.08);
    }
  });

  test('has its mark in the part in which it is, and never before where it was', () => {
    const freshShare = barOf(entry(0, 300))?.parts[0]?.share ?? 0;
    expect(barOf(entry(0, 300))?.at).toBe(0);
    expect(barOf(entry(150, 150))?.at).toBeCloseTo(freshShare / 2);
    expect(barOf(entry(300, 0))?.at).toBeCloseTo(freshShare);
    expect(barOf(entry(100_000, -99_700))?.at).toBe(1);
    const places = Array.from({ length: 1000 }, (_, age) => barOf(entry(age, 300 - age))?.at ?? -1);
    expect(places.every((place, at) => place >= (places[at - 1] ?? 0))).toBe(true);
  });

  test('says the same in words', () => {
    expect(freshnessWords(entry(1, 240))).toBe('fresh for 4\u00a0min');
    expect(freshnessWords({ ...entry(1, -12), state: 'stale-usable' })).toBe('stale since 12\u00a0s');
    expect(freshnessWords({ ...entry(1, null), state: 'over' })).toBe('expired');
  });
});
