// What is pasted is understood as a shell and curl would, and what a change changes is told.
import { describe, expect, test } from 'vitest';
import type { Explanation } from '../api/explain';
import { changesOf } from './changes';
import { readPasted, wordsOf } from './curl';
import vectors from './curl.vectors.json';

const requestOf = (text: string) => {
  const pasted = readPasted(text);
  return pasted.kind === 'request' ? pasted.request : pasted;
};

describe('what is pasted', () => {
  test.each([
    ['https://shop.example/a?b=1', 'https://shop.example/a?b=1'],
    ['shop.example/a', 'http://shop.example/a'],
    ['localhost:8080/posts/1', 'http://localhost:8080/posts/1'],
    ['http://app/x', 'http://app/x'],
  ])('%s is a URL', (text, url) => {
    expect(requestOf(text)).toEqual({ method: 'GET', url, headers: [] });
  });

  test.each(['hello', 'two words', 'ftp://shop.example/', 'curl', "curl 'https://shop.example", 'curl -s', 'x'.repeat(70_000)])(
    '%.20s is nothing to explain',
    (text) => {
      expect(readPasted(text).kind).toBe('unreadable');
    },
  );

  test('nothing is nothing', () => {
    expect(readPasted('  \n').kind).toBe('nothing');
  });

  test('a line as browsers copy it is a request with all its fields', () => {
    const line = `curl 'https://shop.example/me?tab=1' \\
      -H 'accept: text/html' \\
      -H 'x-empty;' \\
      -b 'session=a b; theme=dark' \\
      --compressed`;
    expect(requestOf(line)).toEqual({
      method: 'GET',
      url: 'https://shop.example/me?tab=1',
      headers: [
        ['accept', 'text/html'],
        ['x-empty', ''],
        ['cookie', 'session=a b; theme=dark'],
        ['accept-encoding', 'deflate, gzip, br, zstd'],
      ],
    });
  });

  test.each([
    ['curl -XPURGE a.example', 'PURGE', []],
    ['curl -X post a.example', 'post', []],
    ['curl --request=PUT a.example', 'PUT', []],
    ['curl -sI a.example', 'HEAD', []],
    ['curl -d x=1 a.example', 'POST', []],
    ['curl -sHaccept:br -o /dev/null a.example', 'GET', [['accept', 'br']]],
    ['curl -A me -e http://b.example a.example', 'GET', [['user-agent', 'me'], ['referer', 'http://b.example']]],
    ['curl -u user:pass a.example', 'GET', [['authorization', 'Basic (hidden)']]],
    ['curl -H "x: \\"q\\"" a.example', 'GET', [['x', '"q"']]],
    ["curl -H $'x: it\\'s' a.example", 'GET', [['x', "it's"]]],
    ['curl -H "accept:" a.example', 'GET', []],
    ['$ curl --url a.example', 'GET', []],
  ])('%s', (line, method, headers) => {
    expect(requestOf(line)).toEqual({ method, url: 'http://a.example', headers });
  });

  // The command reads such lines as well, and is tried by the same.
  test.each(vectors.requests)('$line', ({ line, method, url, headers }) => {
    expect(requestOf(line)).toEqual({ method, url, headers });
  });

  test.each(vectors.valued)('%s takes its value along', (option) => {
    expect(requestOf(`curl ${option} value https://a.example/`)).toEqual({ method: 'GET', url: 'https://a.example/', headers: [] });
  });

  test.each(vectors.refused)('%s is no request', (line) => {
    expect(readPasted(line).kind).toBe('unreadable');
  });

  test('what changes nothing is named, and takes its value along', () => {
    const pasted = readPasted('curl -m 5 --max-time 3 -k -d @file a.example -b jar.txt');
    expect(pasted).toMatchObject({ request: { url: 'http://a.example', method: 'POST' } });
    expect(pasted).toMatchObject({
      leftOut: ['-m 5', '--max-time 3', '-k', 'the cookies in jar.txt', 'the body: it is not looked at'],
    });
  });

  test('is split as a shell does', () => {
    expect(wordsOf(`a 'b c'"d"\\ e "" $'\\u0041\\x42\\n'`)).toEqual(['a', 'b cd e', '', 'AB\n']);
    expect(wordsOf('')).toEqual([]);
    expect(wordsOf('"open')).toBeNull();
  });
});

const explanation = (given: Partial<Explanation>): Explanation => ({
  request: null,
  route: null,
  key: { key: 'https://a.example/', parts: [], left_out: [] },
  tiers: [{ tier: 'memory', holds: 'this', says: '', variants: [] }],
  flight: null,
  verdict: { verdict: 'hit', reason: 'hit', says: '' },
  next: null,
  nearest: [],
  gone: null,
  personal: null,
  last: null,
  with_policy: null,
  ...given,
});

describe('what a change changes', () => {
  test('is nothing where all is the same', () => {
    expect(changesOf(explanation({}), explanation({}))).toEqual([]);
  });

  test('is told part by part', () => {
    const after = explanation({
      verdict: { verdict: 'miss', reason: 'uri-miss', says: '' },
      key: { key: 'https://a.example/?page=2', parts: [{ part: 'query', name: 'page', value: '2', from: null }], left_out: [] },
      tiers: [{ tier: 'memory', holds: 'nothing', says: '', variants: [] }],
    });
    expect(changesOf(explanation({}), after)).toEqual([
      { what: 'Verdict', before: 'hit', after: 'miss' },
      { what: 'Reason', before: 'hit', after: 'uri-miss' },
      { what: 'Key', before: 'https://a.example/', after: 'https://a.example/?page=2' },
      { what: 'Key’s query page', before: 'not there', after: '2' },
      { what: 'In memory', before: 'this', after: 'nothing' },
    ]);
  });
});
