// Counting without end, keeping only the latest.
import { expect, test } from 'vitest';
import { visitOf } from '../testing/loads';
import { KEPT_LOADS } from './visit';

test('loads are numbered from one, and the latest are kept', () => {
  const visit = visitOf(Array.from({ length: KEPT_LOADS + 5 }, (_, index) => index));
  expect(visit).toHaveLength(KEPT_LOADS);
  expect(visit[0]).toMatchObject({ number: 6, ms: 5 });
  expect(visit.at(-1)).toMatchObject({ number: KEPT_LOADS + 5 });
});
