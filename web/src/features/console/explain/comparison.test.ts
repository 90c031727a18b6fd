// Two sets of rules side by side: what is shown, and what is said to differ.
import { describe, expect, test } from 'vitest';
import type { Told } from '../api/explain';
import { comparisonOf, namedAfter } from './comparison';
import { refusalOf, tooLarge } from './policy';

type Route = NonNullable<Told['route']>;

const route = (given: Partial<Route>): Route => ({
  route: '/posts/{id}',
  line: 'larder.toml:1',
  upstream: 'blog',
  is_cached: true,
  rules: [{ rule: 'ttl', value: '5m', line: 'larder.toml:2' }],
  ...given,
});

const told = (given: Partial<Told>): Told => ({
  route: route({}),
  key: { key: 'https://a.example/', parts: [], left_out: [] },
  tiers: [{ tier: 'memory', holds: 'this', says: '', variants: [] }],
  flight: null,
  verdict: { verdict: 'hit', reason: 'hit', says: 'It is there.' },
  next: { asks_origin: false, says: 'From memory.' },
  nearest: [],
  gone: null,
  personal: null,
  ...given,
});

const differing = (now: Told, then: Told) =>
  comparisonOf(now, then)
    .filter((row) => row.differs)
    .map((row) => [row.what, row.now, row.then]);

describe('two sets of rules', () => {
  test('that do the same differ in nothing, and the outcome is shown all the same', () => {
    expect(differing(told({}), told({}))).toEqual([]);
    expect(comparisonOf(told({}), told({})).map(({ what }) => what)).toEqual(['Verdict', 'Because', 'Next request', 'Route', 'Service', 'Key']);
  });

  test('differ in the outcome, in rules, in what is left out of the key, and in what is there', () => {
    const then = told({
      route: route({ upstream: 'new', rules: [{ rule: 'query_deny', value: 'tracking', line: 'policy:3' }] }),
      key: { key: 'https://a.example/?q=1', parts: [{ part: 'query', name: 'q', value: '1', from: null }], left_out: [{ part: 'query', name: 'utm', why: 'query_deny' }] },
      tiers: [{ tier: 'memory', holds: 'nothing', says: '', variants: [] }],
      verdict: { verdict: 'miss', reason: 'uri-miss', says: '' },
      next: null,
    });
    expect(differing(told({}), then)).toEqual([
      ['Verdict', 'hit', 'miss'],
      ['Because', 'It is there.', 'uri-miss'],
      ['Next request', 'From memory.', '–'],
      ['Service', 'blog', 'new'],
      ['Key', 'https://a.example/', 'https://a.example/?q=1'],
      ['Rule query_deny', 'not said', 'tracking'],
      ['Rule ttl', '5m', 'not said'],
      ['In the key, query utm', 'as it stands', 'left out: query_deny'],
      ['Key’s query q', 'not there', '1'],
      ['In memory', 'this', 'nothing'],
    ]);
  });

  test('may have no route, and no key', () => {
    expect(differing(told({ route: null, key: null }), told({ route: null, key: null }))).toEqual([]);
    const key = { key: 'https://a.example/', parts: [{ part: 'path', name: null, value: '/', from: null }], left_out: [] };
    expect(differing(told({ key }), told({ route: null, key: null }))).toEqual([
      ['Route', '/posts/{id}', 'none fits'],
      ['Service', 'blog', '–'],
      ['Key', 'https://a.example/', 'none: it passes'],
      ['Rule ttl', '5m', 'not said'],
    ]);
  });

  test('lines of a file have its name, whatever that is', () => {
    const other = told({ route: route({ line: 'policy:1', rules: [{ rule: 'ttl', value: '1h', line: 'policy:2' }] }) });
    const named = namedAfter(other, '$&.toml').route;
    expect([named?.line, named?.rules[0]?.line]).toEqual(['$&.toml:1', '$&.toml:2']);
    expect(namedAfter(other, null)).toBe(other);
    expect(namedAfter(told({ route: null }), 'a.toml').route).toBeNull();
  });
});

test('a file is sent up to what a server takes', () => {
  expect(tooLarge(0)).toBeNull();
  expect(tooLarge(512_000)).toBeNull();
  expect(tooLarge(512_001)).toMatch(/500 KiB/);
});

test('a refusal is of the file, or of the cache', () => {
  expect(refusalOf('policy:1:1: unknown key').title).toBe('These rules are not understood');
  expect(refusalOf('policy: this cache has no configuration that another could replace').title).toMatch(/no file/);
});
