// Durations, and all that may stand around them.
import { expect, test } from 'vitest';
import { readServerTiming } from './serverTiming';

test('durations are read by name', () => {
  const timing = readServerTiming('cache;desc="MISS";dur=0.1, origin;dur=2003.128, total;dur=2003.4');
  expect([...timing]).toEqual([
    ['cache', 0.1],
    ['origin', 2003.128],
    ['total', 2003.4],
  ]);
});

test('a description may hold separators and escaped quotes', () => {
  const timing = readServerTiming(String.raw`cache;desc="a, b;dur=7 \" c";dur=1, origin;dur=2`);
  expect([...timing]).toEqual([
    ['cache', 1],
    ['origin', 2],
  ]);
});

test('what has no usable duration is left out', () => {
  expect(readServerTiming('cache;desc="HIT", db;dur=fast, ;dur=3').size).toBe(0);
  expect(readServerTiming(null).size).toBe(0);
});
