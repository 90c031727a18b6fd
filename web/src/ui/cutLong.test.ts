// What is usual stays whole, and of what is long the beginning and the end are seen.
import { expect, test } from 'vitest';
import { cutLong } from './cutLong';

test('what is usual stays whole', () => {
  expect(cutLong('x'.repeat(300))).toBeNull();
});

test('what is long is cut in its middle, and no letter in half', () => {
  const text = `${'😀'.repeat(400)}end`;
  expect(cutLong(text)).toEqual({ cut: `${'😀'.repeat(160)}…${'😀'.repeat(57)}end`, characters: 403 });
});
