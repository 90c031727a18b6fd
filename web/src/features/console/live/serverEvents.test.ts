// A stream is read right wherever it was cut.
import { describe, expect, test } from 'vitest';
import { EventParser } from './serverEvents';

const STREAM = 'event: second\nid: 17\ndata: {"a":1}\n\n: still here\n\nevent: purge\r\ndata: one\r\ndata: two\r\n\r\ndata:x\n\n';
const EVENTS = [
  { event: 'second', id: '17', data: '{"a":1}' },
  { event: 'purge', id: '', data: 'one\ntwo' },
  { event: 'message', id: '', data: 'x' },
];

describe('a stream of events', () => {
  test('is read whole, and comments are none', () => {
    expect(new EventParser().push(STREAM)).toEqual(EVENTS);
  });

  test('is the same wherever it is cut', () => {
    for (let at = 0; at <= STREAM.length; at += 1) {
      const parser = new EventParser();
      const events = [...parser.push(STREAM.slice(0, at)), ...parser.push(STREAM.slice(at))];
      expect(events, `cut at ${at}`).toEqual(EVENTS);
    }
  });

  test('is the same letter by letter', () => {
    const parser = new EventParser();
    expect(Array.from(STREAM).flatMap((letter) => parser.push(letter))).toEqual(EVENTS);
  });

  test('is given up where an event has no end', () => {
    const parser = new EventParser();
    expect(() => parser.push(`data: ${'x'.repeat(5 << 20)}`)).toThrow(RangeError);
  });
});
