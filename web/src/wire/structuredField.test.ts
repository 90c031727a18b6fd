// Well-formed lists are read whole, malformed ones not at all.
import { describe, expect, test } from 'vitest';
import { parseList } from './structuredField';

function shown(text: string) {
  return parseList(text)?.map(({ value, params }) => [value, Object.fromEntries(params)]);
}

describe('a list of structured fields', () => {
  test('is empty where nothing is said', () => {
    expect(parseList('')).toEqual([]);
    expect(parseList('   ')).toEqual([]);
  });

  test('keeps its members in order, each with its parameters', () => {
    expect(shown('a;x, b;y=2 ,\tc')).toEqual([
      ['a', { x: true }],
      ['b', { y: 2 }],
      ['c', {}],
    ]);
  });

  test('takes semicolons, commas and escaped quotes inside strings as text', () => {
    expect(shown(String.raw`L; key="/a;b,c\"d\\"; hit`)).toEqual([['L', { key: '/a;b,c"d\\', hit: true }]]);
  });

  test('knows every kind of bare item', () => {
    expect(shown('t;a=-12;b=1.5;c=?0;d=?1;e=:aGk=:;f=@1659578233;g="";h=*tok/en')).toEqual([
      ['t', { a: -12, b: 1.5, c: false, d: true, e: 'aGk=', f: 1659578233, g: '', h: '*tok/en' }],
    ]);
  });

  test('lets the later of two parameters with one name count', () => {
    expect(shown('a;x=1;x=2')).toEqual([['a', { x: 2 }]]);
  });

  test.each([
    ['a trailing comma', 'a,'],
    ['two commas', 'a,,b'],
    ['an unclosed string', 'a;x="b'],
    ['an escape of what needs none', String.raw`a;x="\n"`],
    ['a character beyond ASCII', 'a;x="ü"'],
    ['an upper-case parameter', 'a;X'],
    ['a parameter without a value after =', 'a;x='],
    ['a number that is too long', 'a;x=1234567890123456'],
    ['a decimal with too many places', 'a;x=1.2345'],
    ['words without a comma', 'a b'],
    ['an inner list', '(a b)'],
  ])('is ignored as a whole with %s', (_, text) => {
    expect(parseList(text)).toBeNull();
  });
});
