// What is said of copies, and of how many.
import { expect, test } from 'vitest';
import type { CopiesOf } from '../api/copies';
import { copiesWords, isWorthTelling } from './copies';

const copies = (changes: Partial<CopiesOf>): CopiesOf => ({
  parameter: 'utm_source',
  is_tracking: true,
  entries: 1204,
  pages: 1,
  spare_bytes: 38 << 20,
  most: { page: 'https://shop.example/', entries: 1204, route: null },
  ...changes,
});

test('one page many times, and what would keep one', () => {
  const { says, remedy } = copiesWords(copies({}));
  expect(says).toMatch(/^The same page 1,204 times: they differ only in `utm_source`\. One of each would free 38\sMiB\.$/);
  expect(remedy).toContain('`query_deny = ["tracking"]`');
  // Bodies are not compared.
  expect(remedy).toContain('seldom depend');
});

test('a parameter that may matter is left to whoever knows, and quoted as a file has it', () => {
  const { says, remedy } = copiesWords(copies({ parameter: 'a"b', is_tracking: false, pages: 40 }));
  expect(says).toMatch(/^40 pages in 1,204 entries, one of them 1,204 times: they differ only in `a"b`/);
  expect(remedy).toContain('If the answer does not depend on it');
  expect(remedy).toContain('`query_deny = ["a\\"b"]`');
  // What stands there already stays.
  expect(remedy).toContain('Where the route has a `query_deny` already, add `"a\\"b"` to its list.');
});

test.each([
  [2, 1, false],
  [10, 1, false],
  [11, 1, true],
  [100, 91, false],
  [100, 90, true],
])('%i entries of %i pages', (entries, pages, expected) => {
  expect(isWorthTelling(copies({ entries, pages }))).toBe(expected);
});
