// A tier that could not be told is not said to have been.
import { expect, test } from 'vitest';
import { farWords, tierWords } from './tiers';

const refused = 'no connection to 127.0.0.1:9: Connection refused';

test.each([
  ['queued', null, 'waits to be told', 'unsaid'],
  ['queued', refused, 'not taken yet, tried again', 'miss'],
  ['sent', null, 'told, not confirmed yet', 'stale'],
  ['sent', refused, 'not taken yet, tried again', 'miss'],
  ['sent', 'too many purges waited: everything is purged', 'told, not confirmed yet', 'stale'],
  ['confirmed', 'too many purges waited: everything is purged', 'done', 'hit'],
  ['failed', refused, 'failed', 'failed'],
])('%s, for the reason %s', (state, reason, word, mark) => {
  expect(tierWords({ state, reason })).toMatchObject({ word, mark });
});

test.each([
  [['applied', 'confirmed'], null, ', everywhere.'],
  [['applied', 'sent'], null, ' here; the tiers outside are on their way.'],
  [['applied', 'sent'], refused, ' here; not every tier outside takes it yet.'],
  [['sent', 'failed'], refused, ', but not everywhere.'],
])('%s, for the reason %s, as a whole', (states, reason, says) => {
  expect(farWords(states.map((state) => ({ state, reason })))).toBe(says);
});
