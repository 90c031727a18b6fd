// Counting without end, keeping only the latest.
import { expect, test } from 'vitest';
import { visitOf } from '../testing/loads';
import { loadOf } from '../testing/loads';
import { gainOf, KEPT_LOADS, withLoad } from './visit';
import type { Visit } from './visit';

const HIT = { kind: 'hit', ageSeconds: 1, ttlSeconds: 9 } as const;
const MISS = { kind: 'miss', reason: 'uri-miss', collapsed: false, ttlSeconds: 9 } as const;
const BYPASS = { kind: 'bypass' } as const;

const visitWith = (...verdicts: readonly (typeof HIT | typeof MISS | typeof BYPASS)[]) =>
  verdicts.reduce<Visit>(
    (visit, verdict) => withLoad(visit, loadOf({ verdict, ms: verdict === HIT ? 4 : 2000 })),
    [],
  );

test('loads are numbered from one, and the latest are kept', () => {
  const visit = visitOf(Array.from({ length: KEPT_LOADS + 5 }, (_, index) => index));
  expect(visit).toHaveLength(KEPT_LOADS);
  expect(visit[0]).toMatchObject({ number: 6, ms: 5 });
  expect(visit.at(-1)).toMatchObject({ number: KEPT_LOADS + 5 });
});

test('the first miss stays, however many loads come after it', () => {
  const visit = visitWith(HIT, MISS, ...Array<typeof HIT>(40).fill(HIT));
  expect(visit).toHaveLength(KEPT_LOADS);
  expect(visit.slice(0, 2).map(({ number }) => number)).toEqual([2, 14]);
  expect(visit.at(-1)?.number).toBe(42);
});

test('so does the first load past the cache, but no second of either', () => {
  const visit = visitWith(BYPASS, BYPASS, MISS, MISS, ...Array<typeof HIT>(40).fill(HIT));
  expect(visit.slice(0, 3).map(({ number }) => number)).toEqual([1, 3, 17]);
});

test('what the cache gains is told against the first miss, and only for what came from the cache', () => {
  expect(gainOf(visitWith(MISS, HIT))).toBe(500);
  expect(gainOf(visitWith(BYPASS, HIT))).toBe(500);
  expect(gainOf(visitWith(MISS, MISS))).toBeNull();
  expect(gainOf(visitWith(HIT))).toBeNull();
  expect(gainOf([])).toBeNull();
});
