// Loads made up for tests.
import { UNSAID } from '../../../wire/cacheStatus';
import type { FinishedLoad } from '../post/usePost';
import type { Visit } from '../history/visit';
import { withLoad } from '../history/visit';

export function loadOf(given: Partial<FinishedLoad>): FinishedLoad {
  return {
    postId: 1,
    ms: 5,
    verdict: UNSAID,
    serverTiming: new Map(),
    ending: 'loaded',
    at: new Date('2026-11-22T10:22:23Z'),
    ...given,
  };
}

export function visitOf(times: readonly number[]): Visit {
  return times.reduce<Visit>((visit, ms) => withLoad(visit, loadOf({ ms })), []);
}
