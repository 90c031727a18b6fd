// Travellers stand for all that was asked, in its proportions, and each comes back.
import { describe, expect, test } from 'vitest';
import { secondOf } from '../testing/FakeAdmin';
import { busierOf, PLACES, seenAt, travellersOf, worthOf } from './troupe';
import type { Traveller } from './troupe';

const NOBODY = { hit: 0, shared_hits: 0, stale: 0, collapsed: 0, miss: 0, pass: 0, refreshes: 0 };
const crowd = secondOf(1, { ...NOBODY, hit: 900_000, stale: 0, collapsed: 1, miss: 10, pass: 0, refused: 2 });

describe('a troupe', () => {
  test('is small however many ask, and nobody who was there is missing', () => {
    const troupe = travellersOf(crowd, 0);
    expect(troupe.length).toBeLessThan(30);
    expect(new Set(troupe.map(({ way }) => way))).toEqual(new Set(['hit', 'collapsed', 'miss', 'refused']));
    expect(new Set(troupe.map(({ id }) => id)).size).toBe(troupe.length);
    expect(worthOf(crowd)).toBe(37_501);
  });

  test('is one for one where few ask, and nobody where nobody does', () => {
    const few = secondOf(1, { ...NOBODY, hit: 3, miss: 1 });
    expect(travellersOf(few, 0)).toHaveLength(4);
    expect(travellersOf(secondOf(1, NOBODY), 0)).toEqual([]);
  });

  test('shows what the shared tier answered, what was asked for behind readers’ backs, and that something was purged', () => {
    const sample = secondOf(1, { hit: 5, shared_hits: 2, stale: 0, collapsed: 0, miss: 0, pass: 0, refreshes: 1, purges: 40 });
    const counts = new Map<string, number>();
    for (const { way } of travellersOf(sample, 0)) counts.set(way, (counts.get(way) ?? 0) + 1);
    expect(counts).toEqual(new Map([['hit', 3], ['shared', 2], ['refresh', 1], ['purge', 1]] as const));
  });

  test('leaves within its second', () => {
    expect(travellersOf(crowd, 5000).every(({ leaves }) => leaves >= 5000 && leaves < 6000)).toBe(true);
  });
});

describe('of seconds that are not all shown', () => {
  const quiet = secondOf(2, { hit: 1, stale: 0, collapsed: 0, miss: 0, pass: 0 });

  test('the busiest is, and of equals the last', () => {
    expect(busierOf(crowd, quiet)).toBe(crowd);
    expect(busierOf(quiet, crowd)).toBe(crowd);
    expect(busierOf(null, quiet)).toBe(quiet);
    const other = { ...quiet, second: 3 };
    expect(busierOf(quiet, other)).toBe(other);
  });
});

describe('a traveller', () => {
  const farthest = (way: Traveller['way'], hasShared = true) =>
    Math.max(
      ...Array.from({ length: 400 }, (_, at) => seenAt({ id: '', way, leaves: 0, lane: 0 }, at * 10, hasShared)?.x ?? 0),
    );

  test('goes as far as its request did', () => {
    expect(farthest('hit')).toBeCloseTo(PLACES.memory, 2);
    expect(farthest('miss')).toBeCloseTo(PLACES.origin, 2);
    expect(farthest('miss', false)).toBeCloseTo(PLACES.origin, 2);
    expect(farthest('shared')).toBeCloseTo(PLACES.shared, 2);
    expect(farthest('refresh')).toBeCloseTo(PLACES.origin, 2);
    expect(farthest('purge', false)).toBeCloseTo(PLACES.origin, 2);
    expect(farthest('pass')).toBeCloseTo(PLACES.origin, 2);
    expect(farthest('refused')).toBeCloseTo(PLACES.memory, 2);
  });

  test('is not seen before it leaves, nor when it is back', () => {
    const one: Traveller = { id: '', way: 'hit', leaves: 1000, lane: 0 };
    expect(seenAt(one, 999, true)).toBeNull();
    expect(seenAt(one, 1000, true)?.x).toBeCloseTo(PLACES.reader);
    expect(seenAt(one, 60_000, true)).toBeNull();
  });

  test('that is one request waits where it waited, for as long', () => {
    const waited = (way: Traveller['way'], waitMs: number, at: number) =>
      seenAt({ id: '', way, leaves: 0, lane: 0, alone: { label: '/', waitMs } }, at, false)?.x;
    expect(waited('miss', 2000, 1500)).toBeCloseTo(PLACES.origin);
    expect(waited('miss', 2000, 3300)).toBeCloseTo(PLACES.origin);
    expect(waited('miss', 0, 2100)).toBeCloseTo(PLACES.memory, 1);
    expect(waited('collapsed', 2000, 2600)).toBeCloseTo(PLACES.memory);
    expect(waited('collapsed', 0, 1400)).toBeUndefined();
    expect(waited('hit', 2000, 1399)).toBeCloseTo(PLACES.reader, 1);
  });
});
