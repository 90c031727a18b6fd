// How numbers, dates and paragraphs come out.
import { describe, expect, test } from 'vitest';
import { bytes, day, duration, inWords, millis, millisDigits, paragraphs, percent, plural, seconds } from './format';

describe('numbers', () => {
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
