// How numbers, dates and paragraphs come out.
import { describe, expect, test } from 'vitest';
import {
  ago,
  bytes,
  day,
  duration,
  inWords,
  millis,
  millisDigits,
  paragraphs,
  percent,
  perSecond,
  plural,
  seconds,
  short,
  span,
} from './format';

describe('numbers', () => {
  test('of what is seldom in a second are not nothing', () => {
    expect([0, 0.0001, 0.0333, 0.095, 0.24, 9.9, 42.4].map(perSecond)).toEqual(['0', '<0.001', '0.03', '0.1', '0.2', '9.9', '42']);
  });

  test('of milliseconds show a tenth only where it matters', () => {
    expect([0, 3.24, 9.94, 9.96, 47.4, 2004.4].map(millisDigits)).toEqual(['0.0', '3.2', '9.9', '10', '47', '2004']);
  });

  test('stay with their unit at the end of a line', () => {
    expect(millis(2004)).toBe('2004\u00a0ms');
    expect(seconds(3)).toBe('3\u00a0s');
  });

  test('of seconds become minutes and hours when they are many', () => {
    expect([0, 119, 120, 300, 7200].map(seconds)).toEqual([
      '0\u00a0s',
      '119\u00a0s',
      '2\u00a0min',
      '5\u00a0min',
      '2\u00a0h',
    ]);
  });

  test('of a time that was set are exact, in the largest unit that fits', () => {
    expect([0, 1, 60, 90, 300, 3600, 5400, 86_400, 2 ** 31].map(duration)).toEqual([
      '0\u00a0s',
      '1\u00a0s',
      '1\u00a0min',
      '90\u00a0s',
      '5\u00a0min',
      '1\u00a0h',
      '90\u00a0min',
      '1\u00a0d',
      '2,147,483,648\u00a0s',
    ]);
  });

  test('of a share say all and nothing only where it is so', () => {
    expect([0, 0.0004, 0.004, 0.5, 0.833, 0.994, 0.9999, 1].map(percent)).toEqual([
      '0\u00a0%',
      '0.1\u00a0%',
      '0.4\u00a0%',
      '50\u00a0%',
      '83\u00a0%',
      '99.4\u00a0%',
      '99.9\u00a0%',
      '100\u00a0%',
    ]);
  });

  test('of bytes use binary units', () => {
    expect([0, 1023, 1024, 5123, 17_000, 67_108_864, 2 ** 50].map(bytes)).toEqual([
      '0\u00a0B',
      '1023\u00a0B',
      '1\u00a0KiB',
      '5.0\u00a0KiB',
      '17\u00a0KiB',
      '64\u00a0MiB',
      '1024\u00a0TiB',
    ]);
  });

  test('of a delay read as words', () => {
    expect([2000, 1000, 300, 2500, 12_000, 0].map(inWords)).toEqual([
      'two seconds',
      'one second',
      '0.3 seconds',
      '2.5 seconds',
      '12 seconds',
      'no seconds',
    ]);
  });

  test('agree with their noun', () => {
    expect([0, 1, 1200].map((count) => plural(count, 'entry', 'entries'))).toEqual([
      '0 entries',
      '1 entry',
      '1,200 entries',
    ]);
  });
});

test('a date is the same wherever it is read', () => {
  expect(day(new Date('2026-11-22T23:59:59Z'))).toBe('22 November 2026');
});

test('paragraphs part at blank lines and nowhere else', () => {
  expect(paragraphs('One\nline.\n\nTwo.\r\n \r\n\n\nThree.\n')).toEqual(['One\nline.', 'Two.', 'Three.']);
  expect(paragraphs('')).toEqual([]);
});

test.each([
  [0, '0 s'],
  [0.00006, '0.1 ms'],
  [0.038, '38 ms'],
  [0.9994, '999 ms'],
  [0.9999, '1.0 s'],
  [9.94, '9.9 s'],
  [119, '119 s'],
  [840, '14 min'],
  [7200, '2 h'],
  [518_400, '6 d'],
  [-90, '-90 s'],
])('%d seconds are a span of %s', (value, words) => {
  expect(span(value).replaceAll('\u00a0', ' ')).toBe(words);
});

test.each([
  [0, '0'],
  [9999, '9,999'],
  [9999.6, '10.0 k'],
  [999_949, '1000 k'],
  [999_950, '1.0 M'],
  [4_600_000, '4.6 M'],
  [2e12, '2000 G'],
])('%d is short for %s', (value, words) => {
  expect(short(value).replaceAll('\u00a0', ' ')).toBe(words);
});

test('rates have tenths where there are few, and a clock that is behind tells no future', () => {
  expect([0, 0.04, 3.25, 9.96, 1234.4].map(perSecond)).toEqual(['0', '0.04', '3.3', '10', '1,234']);
  expect(ago(new Date(5000), 1000)).toBe('0\u00a0s ago');
  expect(ago(new Date(1000), 4000)).toBe('3.0\u00a0s ago');
});
