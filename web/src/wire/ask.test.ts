// The ways a question can end.
import { describe, expect, test, vi } from 'vitest';
import { ask, AskFailed, json, whatWasSaid } from './ask';
import { shape, text } from './decode';

const greeting = shape({ hello: text });

function answerWith(body: string, init?: ResponseInit) {
  const fetch = vi.fn(() => Promise.resolve(new Response(body, init)));
  vi.stubGlobal('fetch', fetch);
  return fetch;
}

async function troubleOf(asking: Promise<unknown>) {
  const error = await asking.catch((reason: unknown) => reason);
  if (!(error instanceof AskFailed)) throw new Error('should have failed');
  return error.trouble;
}

describe('asking', () => {
  test('gives the value, the time and what the servers said about it', async () => {
    answerWith('{"hello":"you"}', {
      headers: { 'cache-status': 'Larder; hit; ttl=9', age: '1', 'server-timing': 'cache;dur=0.5' },
    });
    const { value, measure } = await ask('/x', greeting);
    expect(value).toEqual({ hello: 'you' });
    expect(measure.ms).toBeGreaterThanOrEqual(0);
    expect(measure.verdict).toEqual({ kind: 'hit', ageSeconds: 1, ttlSeconds: 9 });
    expect(measure.serverTiming.get('cache')).toBe(0.5);
  });

  test('keeps the browser’s own cache out of it', async () => {
    const fetch = answerWith('{"hello":"you"}');
    await ask('/x', greeting, json({ a: 1 }));
    expect(fetch).toHaveBeenCalledWith(
      '/x',
      expect.objectContaining({ cache: 'no-store', method: 'POST', body: '{"a":1}' }),
    );
  });

  test('tells an unreachable server from one that refuses and one that talks nonsense', async () => {
    vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
    expect(await troubleOf(ask('/x', greeting))).toEqual({ kind: 'unreachable' });

    answerWith('{"detail":"Post with ID 99 not found"}', { status: 404 });
    expect(await troubleOf(ask('/x', greeting))).toEqual({
      kind: 'refused',
      status: 404,
      said: 'Post with ID 99 not found',
    });

    answerWith('<html>', { status: 200 });
    expect(await troubleOf(ask('/x', greeting))).toEqual({ kind: 'garbled', why: 'the answer is not JSON' });

    answerWith('{"hello":1}');
    expect(await troubleOf(ask('/x', greeting))).toEqual({ kind: 'garbled', why: 'hello is not a text' });
  });

  test('that was called off is no failure of the server', async () => {
    const called = new AbortController();
    vi.stubGlobal('fetch', () => {
      called.abort();
      return Promise.reject(new DOMException('called off', 'AbortError'));
    });
    await expect(ask('/x', greeting, { signal: called.signal })).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('a server’s own words', () => {
  test.each([
    ['{"detail":"Posts service unavailable (timeout)"}', 'Posts service unavailable (timeout)'],
    [
      '{"detail":[{"msg":"Input should be a valid integer"},{"msg":"and positive"}]}',
      'Input should be a valid integer. and positive',
    ],
    ['{"type":"about:blank","title":"Conflict","status":409,"detail":"another crowd"}', 'another crowd'],
    ['{"title":"Conflict","status":409}', 'Conflict'],
    ['<h1>Bad Gateway</h1>', ''],
    ['[]', ''],
    ['', ''],
  ])('in %s', (body, said) => {
    expect(whatWasSaid(body)).toBe(said);
  });
});
