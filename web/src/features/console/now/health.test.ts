// One glance tells what is wrong, the gravest first, and nothing where nothing is.
import { describe, expect, test } from 'vitest';
import type { Story } from '../api/purges';
import type { Stats } from '../api/stats';
import { secondOf } from '../testing/FakeAdmin';
import { findings } from './health';
import type { Known } from './health';

const NOW = 1_764_500_000;
const minutes = (count: number, more: Readonly<Record<string, number | null>> = {}, end = NOW) =>
  Array.from({ length: count * 60 }, (_, at) => secondOf(end - count * 60 + 1 + at, more));
const known = (given: Partial<Known>): Known => ({ samples: minutes(12), stats: null, purges: [], now: NOW, ...given });
const titles = (given: Partial<Known>) => findings(known(given)).map(({ title }) => title);

const purge = (state: string, secondsAgo: number): Story => ({
  id: 'a',
  what: ['tag a'],
  purges: 1,
  mode: 'soft',
  at: new Date((NOW - secondsAgo) * 1000).toISOString(),
  by: '',
  tiers: {
    memory: { tier: 'memory', state: 'applied', by: 1, of: 1, missing: [], reason: null },
    shared: { tier: 'shared', state, by: null, of: null, missing: [], reason: null },
    cdn: [],
  },
});

const cut: Stats = {
  uptime_seconds: 1,
  upstreams: [],
  caches: [
    {
      name: 'larder',
      entries: 0,
      bytes: 0,
      max_bytes: null,
      hit_rate: null,
      evictions: 0,
      fetch_failures: 0,
      saved_seconds: 0,
      lower: {
        hits: 0,
        misses: 0,
        failures: 3,
        purges_outstanding: 0,
        is_trusted: false,
        log_behind: 0,
        log_behind_seconds: 12,
        readers: 2,
        readers_alive: 0,
      },
    },
  ],
};

describe('health', () => {
  test('tells how many readers got an error, and until when it went on', () => {
    const failing = { origin_failures: 40, reader_errors: 30 };
    const [now] = findings(known({ samples: minutes(12, failing) }));
    expect(now?.says).toMatch(/1,800 readers got an error\.$/);
    expect(now?.link?.view).toBe('routes');
    const before = minutes(12).map((sample) => (sample.second <= NOW - 30 ? { ...sample, ...failing } : sample));
    const [since] = findings(known({ samples: before }));
    expect(since?.title).toMatch(/^The origin failed until \d/);
    expect(since?.gravity).toBe('watch');
  });

  test('is nothing to speak of where all is well, or nobody asks', () => {
    expect(titles({})).toEqual([]);
    expect(titles({ samples: [] })).toEqual([]);
    expect(titles({ samples: minutes(2, { hit: 0, stale: 0, miss: 0, collapsed: 0, pass: 0, origin_calls: 0 }) })).toEqual([]);
  });

  test('says that the origin fails, by how much of it does', () => {
    expect(findings(known({ samples: minutes(1, { origin_failures: 50 }) }))[0]).toMatchObject({
      gravity: 'bad',
      title: 'The origin fails',
    });
    const once = [...minutes(1).slice(0, -1), secondOf(NOW, { origin_failures: 1 })];
    expect(findings(known({ samples: once }))[0]).toMatchObject({ gravity: 'watch', title: 'The origin fails now and then' });
  });

  test('says that a purge has not reached everything: at once where it failed, after a while where it waits', () => {
    expect(titles({ purges: [purge('queued', 3)] })).toEqual([]);
    expect(titles({ purges: [purge('queued', 60)] })).toEqual(['A purge has not reached everything']);
    expect(titles({ purges: [purge('failed', 3)] })).toEqual(['A purge has not reached everything']);
    expect(titles({ purges: [purge('applied', 600)] })).toEqual([]);
  });

  test('says that the shared tier is out of reach', () => {
    expect(titles({ stats: cut })).toEqual(['The shared tier is out of reach']);
  });

  test('says which service is down, and which only partly', () => {
    const at = (name: string, ...isUp: readonly boolean[]) => ({
      name,
      addresses: isUp.map((is_up, place) => ({ address: `127.0.0.1:${8000 + place}`, is_up })),
    });
    const upstreams = (...all: Stats['upstreams']) => ({ stats: { uptime_seconds: 1, caches: [], upstreams: all } });
    expect(titles(upstreams(at('app', true), at('blog', true, true)))).toEqual([]);
    expect(findings(known(upstreams(at('blog', true, false), at('app', false))))[0]).toMatchObject({ gravity: 'bad', title: 'app is down' });
    expect(titles(upstreams(at('app', false, false), at('blog', false)))).toEqual(['app, blog are down']);
    expect(findings(known(upstreams(at('app', true, false))))[0]).toMatchObject({ gravity: 'watch', title: 'app is partly down' });
  });

  test('says that the memory is full only where something has to go', () => {
    expect(titles({ samples: minutes(1, { bytes: 268_000_000, evictions: 0 }) })).toEqual([]);
    expect(titles({ samples: minutes(1, { bytes: 268_000_000, evictions: 3 }) })).toEqual(['The memory is full']);
    expect(titles({ samples: minutes(1, { bytes: 268_000_000, max_bytes: null, evictions: 3 }) })).toEqual([]);
  });

  test('says that the hit ratio fell, beside what it was', () => {
    const samples = [...minutes(10, {}, NOW - 60), ...minutes(1, { hit: 40, miss: 300 })];
    expect(titles({ samples })).toEqual(['The hit ratio fell']);
  });

  test('tells what readers notice before what only costs', () => {
    const samples = minutes(2, { refused: 90, bytes: 268_000_000, evictions: 5, stale: 400 });
    expect(titles({ samples })).toEqual(['Requests are refused', 'The memory is full', 'Many answers are old']);
  });
});
