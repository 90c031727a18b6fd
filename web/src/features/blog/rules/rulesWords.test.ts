// What the page says about how long a post is kept.
import { expect, test } from 'vitest';
import { rulesSentence } from './rulesWords';

const RULES = {
  enabled: true,
  ttl_seconds: 300,
  stale_while_revalidate: false,
  stale_while_revalidate_seconds: 60,
  stale_if_error_seconds: 3600,
  posts_service: 'answered', shared: false,
} as const;
const ON = { stale_while_revalidate: true } as const;

test.each([
  [{}, 'Fresh for 5\u00a0min. Then the next load waits for a new copy; if the posts service fails, the old one stands in for 1\u00a0h.'],
  [{ stale_if_error_seconds: 0 }, 'Then the next load waits for a new copy, and nothing stands in if the posts service fails.'],
  [{ ...ON, ttl_seconds: 3 }, 'Fresh for 3\u00a0s. For 1\u00a0min more, the old copy is given while a new one is fetched; for 1\u00a0h, if the posts service fails.'],
  // The first window holds whether the posts service fails or not.
  [{ ...ON, stale_if_error_seconds: 60 }, 'while a new one is fetched.'],
  [{ ...ON, stale_if_error_seconds: 0 }, 'while a new one is fetched.'],
  [{ ttl_seconds: 0, stale_while_revalidate_seconds: 0, stale_if_error_seconds: 0 }, 'every load asks the posts service.'],
  [{ enabled: false }, 'Every load asks the posts service. What was kept stays, unread.'],
])('%j is told', (changed, words) => {
  expect(rulesSentence({ ...RULES, ...changed })).toContain(words);
});
