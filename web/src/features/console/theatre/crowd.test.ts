// What somebody types for a crowd, and what comes of one in words.
import { describe, expect, test } from 'vitest';
import type { CrowdReport } from '../api/stage';
import { crowdOf, crowdSays, delaysOf, delayWords } from './crowd';

const offer = { at: 'http://127.0.0.1:8080', path: '/', takes_host: true, usual: 200, most: 1000 };

describe('a crowd', () => {
  const kind = (path: string, host: string, requests: string) => {
    const wanted = crowdOf({ path, host, requests }, offer);
    return wanted.kind === 'crowd' ? 'crowd' : wanted.field;
  };

  test('keeps within the bounds that are offered', () => {
    expect(kind('/', '', '1')).toBe('crowd');
    expect(kind(' /a?b=c ', 'shop.example:8080', ' 1000 ')).toBe('crowd');
    for (const requests of ['', '0', '1001', '-1', '1.5', 'x', 'Infinity', 'NaN']) expect(kind('/', '', requests)).toBe('requests');
    for (const path of ['', 'a', '//a', 'http://a/']) expect(kind(path, '', '1')).toBe('path');
    for (const host of ['a/b', 'http://a', 'a b', 'a@b']) expect(kind('/', host, '1')).toBe('host');
  });
});

describe('what came of it', () => {
  const none = { hit: 0, stale: 0, miss: 0, collapsed: 0, pass: 0, refused: 0 };
  const report = (more: Partial<CrowdReport>): CrowdReport => ({
    requests: 200,
    origin_calls: 0,
    took_ms: 2004,
    by_verdict: none,
    by_status: [['200', 200]],
    unanswered: 0,
    ...more,
  });

  test('says first what it cost the origin', () => {
    expect(crowdSays(report({ origin_calls: 1, by_verdict: { ...none, miss: 1, collapsed: 199 } }))).toBe(
      '200 requests, 1 call of the origin. 199 waited for another’s answer and 1 asked the origin. The last was answered after 2.0\u00a0s.',
    );
    expect(crowdSays(report({ took_ms: 12, by_verdict: { ...none, hit: 200 } }))).toBe(
      '200 requests, no call of the origin. 200 had it from the cache. The last was answered after 12\u00a0ms.',
    );
    expect(crowdSays(report({ origin_calls: null, by_verdict: { ...none, stale: 200 } }))).toMatch(/is not known\./);
  });

  test('hides no failure', () => {
    const said = crowdSays(report({ requests: 5, by_status: [['503', 3]], unanswered: 2, by_verdict: { ...none, miss: 3 } }));
    expect(said).toContain('Not all went well: 3 got 503.');
    expect(said).toContain('2 requests got no answer.');
  });
});

test('the usual delay and the one of now can always be chosen', () => {
  expect(delaysOf({ ms: 2000, usual_ms: 2000, most_ms: 10_000 })).toEqual([0, 2000, 4000, 8000]);
  expect(delaysOf({ ms: 700, usual_ms: 20, most_ms: 5000 })).toEqual([0, 20, 700, 4000]);
  expect([0, 20, 1000, 2500].map(delayWords)).toEqual(['at once', '20\u00a0ms', '1\u00a0s', '2.5\u00a0s']);
});
