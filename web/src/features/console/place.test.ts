// An address leads somewhere, whatever became of it.
import { describe, expect, test } from 'vitest';
import { hrefOf, readPlace } from './place';

describe('a place', () => {
  test('is what its address says', () => {
    const href = hrefOf('entries', { prefix: 'https://a.example/?x=1&y', tag: null, key: '' });
    const { view, query } = readPlace(href);
    expect(view).toBe('entries');
    expect([...query]).toEqual([['prefix', 'https://a.example/?x=1&y']]);
    expect(hrefOf('now')).toBe('#/now');
  });

  test.each(['', '#', '#/', '#/nowhere', '#now?', '#/%E0%A4%A'])('“%s” is the first view', (hash) => {
    expect(readPlace(hash).view).toBe('now');
  });
});
