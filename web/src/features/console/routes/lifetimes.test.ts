// For how long answers are fresh, whatever their age.
import { expect, test } from 'vitest';
import type { Freshness } from '../api/entries';
import { lifetimesSay } from './lifetimes';

const entry = (age_seconds: number, fresh_for_seconds: number | null, state: Freshness['state'] = 'fresh'): Freshness => ({
  age_seconds,
  fresh_for_seconds,
  state,
  stale_while_revalidate_seconds: 0,
  stale_if_error_seconds: 0,
});

test('one length is told as it is, several as from and to', () => {
  expect(lifetimesSay([entry(1.2, 3.8), entry(9, -4, 'over')])).toMatch(/^What is stored of it now is fresh for 5.0\ss \(looked at: 2 entries\)/);
  expect(lifetimesSay([entry(0, 5), entry(10, 50)])).toMatch(/for 5.0\ss to 60\ss/);
});

test('what was purged, or says nothing of it, is left out', () => {
  expect(lifetimesSay([entry(1, null), entry(1, 4, 'purged')])).toBeNull();
});
