// The sentences about what the cache did.
import { expect, test } from 'vitest';
import { badgeNote, spokenVerdict, unknownSentence, verdictSentence } from './verdictWords';

const MISS = { kind: 'miss', reason: 'uri-miss', collapsed: false, ttlSeconds: 300 } as const;

test('a hit tells its age and what is left', () => {
  const hit = { kind: 'hit', ageSeconds: 3, ttlSeconds: 97 } as const;
  expect(badgeNote(hit)).toBe('3\u00a0s old');
  expect(verdictSentence(hit)).toBe('Larder had it, so the posts service was not asked. Good for another 97\u00a0s.');
  expect(spokenVerdict(hit)).toBe('cache hit, 3\u00a0s old');
});

test('a hit in what backends share says so', () => {
  const shared = { kind: 'shared', ageSeconds: 3, ttlSeconds: 97 } as const;
  expect(badgeNote(shared)).toBe('3\u00a0s old');
  expect(verdictSentence(shared)).toContain('The backends share it');
  expect(spokenVerdict(shared)).toBe('hit in the shared cache, 3\u00a0s old');
});

test('a miss tells its cause', () => {
  expect(verdictSentence(MISS)).toContain('did not have it');
  expect(verdictSentence({ ...MISS, reason: 'expired' })).toContain('had expired');
  expect(verdictSentence({ ...MISS, reason: 'some-new-word', ttlSeconds: null })).toBe(
    'The posts service was asked (some-new-word).',
  );
  expect(spokenVerdict(MISS)).toBe('cache miss');
});

test('a shared fetch is said as such', () => {
  const collapsed = { ...MISS, collapsed: true };
  expect(badgeNote(collapsed)).toBe('collapsed');
  expect(verdictSentence(collapsed)).toContain('waited for the same answer');
});

test('a stale answer tells why it was good enough', () => {
  const stale = { kind: 'stale', ageSeconds: 312, expiredForSeconds: 12, reason: 'stale-while-revalidate' } as const;
  expect(verdictSentence(stale)).toBe(
    'Larder gave a copy that expired 12\u00a0s ago, and sent for a new one.',
  );
  expect(verdictSentence(stale, true)).toBe(
    'Larder gave a copy that expired 12\u00a0s ago. The posts service fails, so there is no newer one.',
  );
  expect(verdictSentence({ ...stale, reason: 'stale-if-error' })).toContain('The posts service failed');
  expect(verdictSentence({ ...stale, expiredForSeconds: null })).toContain('an expired copy');
});

test('a post that does not exist is remembered as such', () => {
  expect(unknownSentence({ ...MISS, ttlSeconds: 5 })).toBe('Larder remembers that for 5\u00a0s.');
  expect(unknownSentence({ ...MISS, ttlSeconds: null })).toBe('');
  expect(unknownSentence({ kind: 'hit', ageSeconds: 3, ttlSeconds: 2 })).toBe('Larder remembered that.');
  expect(unknownSentence({ kind: 'bypass' })).toBe('');
  expect(unknownSentence(undefined)).toBe('');
});
