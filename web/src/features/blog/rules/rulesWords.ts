// The rules of the cache as sentences: how long a post is fresh, and what becomes of it then.
import type { Rules } from '../api';
import { duration } from '../../../ui/format';

/** What stands first while it is. */
export const CACHE_IS_OFF = 'The cache is off: this is the before picture.';

export function rulesSentence(rules: Rules): string {
  if (!rules.enabled) {
    return 'Every load asks the posts service. What was kept stays, unread.';
  }
  if (rules.ttl_seconds === 0) {
    return 'Nothing stays fresh (CACHE_TTL_SECONDS is 0), so every load asks the posts service.';
  }
  return `Fresh for ${duration(rules.ttl_seconds)}. ${thenSentence(rules)}`;
}

/** What becomes of a post then: each window is told, also where there is none. */
function thenSentence({ stale_while_revalidate: on, ...rules }: Rules): string {
  const revalidate = on ? rules.stale_while_revalidate_seconds : 0;
  const rescue = rules.stale_if_error_seconds;
  if (revalidate > 0) {
    const then = `For ${duration(revalidate)} more, the old copy is given while a new one is fetched`;
    return rescue > revalidate ? `${then}; for ${duration(rescue)}, if the posts service fails.` : `${then}.`;
  }
  const then = 'Then the next load waits for a new copy';
  return rescue > 0
    ? `${then}; if the posts service fails, the old one stands in for ${duration(rescue)}.`
    : `${then}, and nothing stands in if the posts service fails.`;
}
