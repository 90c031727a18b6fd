// Bad answers are refused, with the place where they are bad.
import { describe, expect, test } from 'vitest';
import {
  amount,
  count,
  entriesOf,
  flag,
  instant,
  integer,
  list,
  nullable,
  oneOf,
  optional,
  orElse,
  pair,
  shape,
  signed,
  text,
} from './decode';

const post = shape({ id: integer, title: text, tags: list(text) });

describe('decoding', () => {
  test('gives back what it was told to expect, and leaves the rest', () => {
    expect(post({ id: 1, title: 'A', tags: ['x'], more: true }, '')).toEqual({ id: 1, title: 'A', tags: ['x'] });
  });

  test.each([
    ['a text where a number belongs', { id: '1', title: 'A', tags: [] }, 'id is not a whole number'],
    ['a fraction where a whole number belongs', { id: 1.5, title: 'A', tags: [] }, 'id is not a whole number'],
    ['a missing field', { id: 1, tags: [] }, 'title is not a text'],
    ['a bad element deep inside', { id: 1, title: 'A', tags: ['x', 2] }, 'tags[1] is not a text'],
    ['a list where an object belongs', [], 'the answer is not an object'],
    ['nothing', null, 'the answer is not an object'],
  ])('says where there is %s', (_, value, message) => {
    expect(() => post(value, '')).toThrow(message);
  });

  test('says which element of a list of objects is wrong', () => {
    expect(() => list(shape({ id: integer }))([{ id: 1 }, {}], '')).toThrow('[1].id is not a whole number');
  });

  test('reads a point in time to the millisecond', () => {
    expect(instant('2026-11-22T10:22:23.396898+00:00', '').toISOString()).toBe('2026-11-22T10:22:23.396Z');
    expect(() => instant('yesterday', 'created_at')).toThrow('created_at is not a point in time');
  });

  test('makes up for what is absent, and for nothing else', () => {
    const counted = shape({ hits: orElse(count, 0) });
    expect(counted({}, '')).toEqual({ hits: 0 });
    expect(counted({ hits: 2 }, '')).toEqual({ hits: 2 });
    expect(() => counted({ hits: null }, '')).toThrow('hits is not a whole number');
  });

  test('tells null from a value, and a word from others', () => {
    const read = shape({ rate: nullable(amount), state: oneOf('on', 'off') });
    expect(read({ rate: null, state: 'on' }, '')).toEqual({ rate: null, state: 'on' });
    expect(read({ rate: 0, state: 'off' }, '')).toEqual({ rate: 0, state: 'off' });
    expect(() => read({ state: 'on' }, '')).toThrow('rate is not a number');
    expect(() => read({ rate: 1, state: 'ON' }, '')).toThrow('state is not one of on, off');
  });

  test('refuses quantities that cannot be', () => {
    expect(() => amount(-0.1, 'dur')).toThrow('dur is not a number of zero or more');
    expect(() => amount(Number.NaN, 'dur')).toThrow();
    expect(() => count(-1, 'hits')).toThrow('hits is not zero or more');
    expect(() => flag('true', 'on')).toThrow('on is not true or false');
  });

  test('reads pairs, and objects whose names nobody knows', () => {
    expect(list(pair(text, count))([['a', 1]], '')).toEqual([['a', 1]]);
    expect(() => pair(text, count)(['a'], 'fields')).toThrow('fields is not a pair');
    expect(() => pair(text, count)(['a', -1], 'fields')).toThrow('fields[1] is not zero or more');
    expect(entriesOf(count)({ b: 2, a: 1 }, '')).toEqual([
      ['b', 2],
      ['a', 1],
    ]);
    expect(() => entriesOf(count)({ b: 'x' }, 'reasons')).toThrow('reasons.b is not a whole number');
    expect(() => entriesOf(count)([1], 'reasons')).toThrow('reasons is not an object');
  });

  test('takes what is not there for null, and a time that is over for a number', () => {
    const read = shape({ left: optional(signed) });
    expect(read({}, '')).toEqual({ left: null });
    expect(read({ left: null }, '')).toEqual({ left: null });
    expect(read({ left: -2.5 }, '')).toEqual({ left: -2.5 });
    expect(() => read({ left: '2' }, '')).toThrow('left is not a number');
    expect(() => signed(Number.NaN, 'left')).toThrow();
  });
});
