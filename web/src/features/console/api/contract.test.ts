// What is asked of the API is what its description has: no answer in memory tells of something else, and nothing is read that no
// server sends. A field that may be absent would otherwise hide that its name is wrong.
import { beforeEach, describe, expect, test } from 'vitest';
import type { Decoder } from '../../../wire/decode';
import { answerOf, faultsOf, schemaNamed, unknownTo } from '../testing/contract';
import { FakeAdmin } from '../testing/FakeAdmin';
import { Api } from './api';
import type { Query } from './api';
import { fetchCopies } from './copies';
import { fetchEntries, fetchEntry, fetchExactly, fetchTags } from './entries';
import { explain, fetchPast } from './explain';
import { countGone, fetchGone } from './gone';
import { fetchInstances } from './instances';
import { fetchStories, fetchStory, purge, storyShape, tryPurge } from './purges';
import { fetchLargest, fetchRoutes } from './routes';
import { historyShape, sampleShape } from './samples';
import { Session } from './session';
import type { Wish } from './session';
import { cutOff, fetchStage, sendCrowd, slowOrigin } from './stage';
import { statsShape } from './stats';

let admin: FakeAdmin;
let faults: string[];

/** Looks at each answer, and at what is read of it. */
class CheckedApi extends Api {
  override get<T>(path: string, query: Query, decode: Decoder<T>, wanted: AbortSignal): Promise<T> {
    wanted.throwIfAborted();
    return this.#checked('GET', path, this.url(path, query), decode, null);
  }

  override post<T>(_: Wish, path: string, body: unknown, decode: Decoder<T>): Promise<T> {
    return this.#checked('POST', path, this.url(path, []), decode, body);
  }

  async #checked<T>(method: string, path: string, url: string, decode: Decoder<T>, body: unknown): Promise<T> {
    const response = await admin.fetch(url, body === null ? { method } : { method, body: JSON.stringify(body) });
    expect(response.status, `${method} ${path}`).toBe(200);
    const value: unknown = await response.json();
    const schema = answerOf(method, `/${path}`);
    if (schema === null) throw new Error(`${path} is described as no JSON`);
    faults.push(...faultsOf(schema, value, path), ...unknownTo(schema, decode, path).map((name) => `${name} is read, and no server sends it`));
    return decode(value, '');
  }
}

const api = new CheckedApi('./', new Session());
const { signal } = new AbortController();

beforeEach(() => {
  admin = new FakeAdmin(1_764_500_000, 30);
  faults = [];
});

/** Each question of the console, by its name. */
const QUESTIONS: Readonly<Record<string, () => Promise<unknown>>> = {
  stats: () => api.get('v1/stats', [], statsShape, signal),
  history: () => api.get('v1/history', [], historyShape, signal),
  routes: () => fetchRoutes(api, signal),
  'the largest routes': () => fetchLargest(api, 5, signal),
  entries: () => fetchEntries(api, { part: '', tag: '', route: '', order: 'cost' }, null, 50, signal),
  'an entry that is named': () => fetchExactly(api, 'https://shop.example/posts/1', signal),
  'an entry': () => fetchEntry(api, 'https://shop.example/posts/1', signal),
  tags: () => fetchTags(api, 5, signal),
  copies: async () => {
    admin.copy('https://shop.example/posts/1', 3);
    return fetchCopies(api, '', signal);
  },
  gone: async () => {
    admin.lose('https://shop.example/posts/1', 'evicted');
    await countGone(api, '/search', signal);
    return fetchGone(api, { key: '', prefix: '', cache: '' }, signal);
  },
  instances: () => fetchInstances(api, signal),
  'an explanation': async () => {
    const request = { method: 'GET', url: 'https://shop.example/posts/1?utm_source=a', headers: [] };
    await explain(api, request, 'ttl = "1m"', signal);
    await explain(api, { ...request, url: 'https://shop.example/nothing' }, null, signal);
    return explain(api, { ...request, url: 'https://shop.example/me', headers: [['cookie', 'a=1']] }, null, signal);
  },
  'a past request': () => fetchPast(api, '0123456789abcdef0123456789abcdef', signal),
  purges: async () => {
    await tryPurge(api, { tags: ['front-page'] }, 'soft', null, signal);
    const made = await purge(api, { tags: ['front-page'] }, 'hard', null);
    await purge(api, { all: true }, 'soft', 'larder');
    admin.settle();
    await fetchStories(api, signal);
    return fetchStory(api, made.id ?? '', signal);
  },
  'the stage': async () => {
    await fetchStage(api, signal);
    await cutOff(api, true);
    await slowOrigin(api, 100);
    return sendCrowd(api, { path: '/a', host: '', requests: 10 }, signal);
  },
};

test.each(Object.entries(QUESTIONS))('%s: what is answered and what is read is as described', async (_, question) => {
  await question();
  expect(faults).toEqual([]);
});

test.each([
  ['Second', sampleShape],
  ['Sample', statsShape],
  ['Story', storyShape],
] as const)('of an event that is a %s nothing else is read', (name, decoder) => {
  expect(unknownTo(schemaNamed(name), decoder, name)).toEqual([]);
});

describe('whoever compares', () => {
  test('finds what is missing, of another kind, and misspelt', () => {
    const route = schemaNamed('RouteFigures');
    const described = faultsOf(route, { route: 7, requests: { hit: -0.5 } }, 'route');
    expect(described).toContain('route.route is 7, and no string');
    expect(described).toContain('route.requests has no miss');
    expect(described).toContain('route has no origin_calls');
    const misspelt: Decoder<unknown> = Object.assign(() => null, { reads: { kind: 'fields' as const, fields: { rout: () => null } } });
    expect(unknownTo(route, misspelt, 'route')).toEqual(['route.rout']);
  });
});
