// What the cache did, said in sentences: under the load time, and aloud for a screen reader.
import type { Verdict } from '../../../wire/cacheStatus';
import { seconds } from '../../../ui/format';

/** Under the badge's word: how old the answer is, or that it was shared. */
export function badgeNote(verdict: Verdict): string | null {
  switch (verdict.kind) {
    case 'hit':
    case 'shared':
    case 'stale':
      return verdict.ageSeconds === null ? null : `${seconds(verdict.ageSeconds)} old`;
    case 'miss':
      return verdict.collapsed ? 'collapsed' : null;
    case 'bypass':
    case 'unsaid':
      return null;
  }
}

/** `postsServiceFails`: it did when it was last asked. */
export function verdictSentence(verdict: Verdict, postsServiceFails = false): string {
  switch (verdict.kind) {
    case 'hit':
      return `Larder had it, so the posts service was not asked.${keptFor(verdict.ttlSeconds, 'Good for another')}`;
    case 'shared':
      return `The backends share it, so the posts service was not asked.${keptFor(verdict.ttlSeconds, 'Good for another')}`;
    case 'stale':
      return staleSentence(verdict.reason, verdict.expiredForSeconds, postsServiceFails);
    case 'miss':
      if (verdict.collapsed) return 'Another reader had just asked; this load waited for the same answer.';
      return `${missCause(verdict.reason)}${keptFor(verdict.ttlSeconds, 'Fresh for')}`;
    case 'bypass':
      return 'The cache stood aside, so the posts service was asked.';
    case 'unsaid':
      return 'The answer does not say what the cache did.';
  }
}

/** Of a post that does not exist: that, too, can be remembered. */
export function unknownSentence(verdict: Verdict | undefined): string {
  switch (verdict?.kind) {
    case 'hit':
    case 'shared':
      return 'Larder remembered that.';
    case 'miss':
      return keptFor(verdict.ttlSeconds, 'Larder remembers that for').trim();
    case 'stale':
    case 'bypass':
    case 'unsaid':
    case undefined:
      return '';
  }
}

/** As short as it can be heard: “cache hit, 3 s old”. */
export function spokenVerdict(verdict: Verdict): string {
  const note = badgeNote(verdict);
  const word = {
    hit: 'cache hit',
    shared: 'hit in the shared cache',
    stale: 'stale from the cache',
    miss: 'cache miss',
    bypass: 'cache bypassed',
    unsaid: 'no word from the cache',
  }[verdict.kind];
  return note === null ? word : `${word}, ${note}`;
}

function staleSentence(reason: string | null, expiredForSeconds: number | null, postsServiceFails: boolean): string {
  const copy = expiredForSeconds === null ? 'an expired copy' : `a copy that expired ${seconds(expiredForSeconds)} ago`;
  if (reason === 'stale-if-error') return `The posts service failed, so Larder gave ${copy}.`;
  return postsServiceFails
    ? `Larder gave ${copy}. The posts service fails, so there is no newer one.`
    : `Larder gave ${copy}, and sent for a new one.`;
}

function missCause(reason: string): string {
  switch (reason) {
    case 'uri-miss':
      return 'Larder did not have it, so the posts service was asked.';
    case 'stale':
    case 'expired':
      return 'Larder’s copy had expired, so the posts service was asked.';
    case 'purged':
      return 'The posts service was asked. The cache was cleared meanwhile, so the answer is not kept.';
    case 'too-large':
      return 'The posts service was asked. Its answer is too large to keep.';
    case 'not-storable':
      return 'The posts service was asked. Its answer is not of a kind to keep.';
    default:
      return `The posts service was asked (${reason}).`;
  }
}

function keptFor(ttlSeconds: number | null, words: string): string {
  return ttlSeconds === null || ttlSeconds <= 0 ? '' : ` ${words} ${seconds(ttlSeconds)}.`;
}
