// A hundred users who ask at once: how that can stand, and what each of them got.
import type { CrowdResult } from '../api';
import type { Problem } from '../problems';

export const CROWD_SIZE = 100;

/** Whether the post was out of the cache when the crowd came. */
export type Cold = 'cleared-first' | 'console-unreachable' | 'cache-off';

export type CrowdView =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running' }
  | { readonly kind: 'done'; readonly postId: number; readonly cold: Cold; readonly result: CrowdResult }
  | { readonly kind: 'failed'; readonly problem: Problem };

/** What one of the users got. */
export type Share = 'asked' | 'waited' | 'kept' | 'failed';

/** One entry per user, the few who reached the posts service first. */
export function sharesOf(result: CrowdResult): readonly Share[] {
  const succeeded = result.users - result.failed;
  const kept = Math.min(result.hits, succeeded);
  const waited = Math.min(result.collapsed, succeeded - kept);
  // Whoever neither waited nor found it kept has asked. The origin's own count may be higher: failed ones ask too.
  const asked = succeeded - kept - waited;
  return [
    ...Array<Share>(asked).fill('asked'),
    ...Array<Share>(waited).fill('waited'),
    ...Array<Share>(kept).fill('kept'),
    ...Array<Share>(result.failed).fill('failed'),
  ];
}

export function coldSentence(cold: Cold): string | null {
  switch (cold) {
    case 'cleared-first':
      return null;
    case 'console-unreachable':
      return 'The console is out of reach, so the post could not be cleared first; Larder may have had it.';
    case 'cache-off':
      return 'The cache was off, so every one of them went to the posts service.';
  }
}
