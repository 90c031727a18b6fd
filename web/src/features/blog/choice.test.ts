// What the address may ask for.
import { expect, test } from 'vitest';
import { readChoice } from './choice';

test.each([
  ['', { kind: 'none' }],
  ['?post=', { kind: 'none' }],
  ['?other=3', { kind: 'none' }],
  ['?post=3', { kind: 'post', id: 3 }],
  ['?post=99999', { kind: 'post', id: 99_999 }],
  ['?post=abc', { kind: 'unreadable', text: 'abc' }],
  ['?post=1.5', { kind: 'unreadable', text: '1.5' }],
  ['?post=-1', { kind: 'unreadable', text: '-1' }],
  ['?post=99999999999999999999', { kind: 'unreadable', text: '99999999999999999999' }],
])('the address %j is read as %j', (search, choice) => {
  expect(readChoice(search)).toEqual(choice);
});
