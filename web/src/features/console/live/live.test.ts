// What is known of the present stays in order, bounded, and old where it is old.
import { describe, expect, test } from 'vitest';
import { secondOf } from '../testing/FakeAdmin';
import { nextLive, NOTHING_YET } from './live';
import type { Happening, Live } from './live';

const second = (at: number): Happening => ({
  kind: 'event',
  event: { event: 'second', id: String(at), data: JSON.stringify(secondOf(at)) },
});
const after = (...happenings: readonly Happening[]): Live => happenings.reduce(nextLive, NOTHING_YET);
const seconds = ({ samples }: Live) => samples.map((sample) => sample.second);

const story = (id: string, state: string): Happening => ({
  kind: 'event',
  event: {
    event: 'purge',
    id: '',
    data: JSON.stringify({
      id,
      what: ['tag a'],
      mode: 'soft',
      at: '2026-11-30T12:00:00.000Z',
      tiers: { memory: { tier: 'memory', state: 'applied' }, shared: { tier: 'shared', state } },
    }),
  },
});

describe('the present', () => {
  test('has each second once and in order, whichever came first', () => {
    const past: Happening = { kind: 'past', samples: [1, 2, 3].map((at) => secondOf(at)) };
    expect(seconds(after(second(3), second(4), past, second(5)))).toEqual([1, 2, 3, 4, 5]);
    expect(seconds(after(past, second(4), second(4), second(6)))).toEqual([1, 2, 3, 4, 6]);
  });

  test('is an hour at most', () => {
    const past: Happening = { kind: 'past', samples: Array.from({ length: 4000 }, (_, at) => secondOf(at)) };
    const live = after(past, second(4000));
    expect(live.samples).toHaveLength(3600);
    expect(seconds(live).at(-1)).toBe(4000);
  });

  test('tells each purge by how far it is now, the last one first', () => {
    const live = after(story('a', 'queued'), story('b', 'queued'), story('a', 'applied'));
    expect(live.purges.map(({ id, tiers }) => [id, tiers.shared?.state])).toEqual([
      ['a', 'applied'],
      ['b', 'queued'],
    ]);
  });

  test('forgets purges that the server has forgotten, and none that was told since they were asked for', () => {
    const before = after(story('a', 'queued'), story('b', 'queued'));
    const [b] = before.purges;
    if (b === undefined) throw new Error('it was told');
    const answer: Happening = { kind: 'purges', purges: [{ ...b, mode: 'hard' }], known: before.purges };
    expect(nextLive(before, answer).purges.map(({ id, mode }) => [id, mode])).toEqual([['b', 'hard']]);
    const meanwhile = [story('b', 'applied'), story('c', 'queued')].reduce(nextLive, before);
    expect(nextLive(meanwhile, answer).purges.map(({ id, tiers }) => [id, tiers.shared?.state])).toEqual([
      ['c', 'queued'],
      ['b', 'applied'],
    ]);
  });

  test('keeps what it has where the connection is lost, and is live again with the first word', () => {
    const lost = after(second(1), { kind: 'lost', why: 'gone' }, { kind: 'connecting' });
    expect(lost.link).toEqual({ kind: 'lost', why: 'gone' });
    expect(seconds(lost)).toEqual([1]);
    expect(nextLive(lost, second(2)).link.kind).toBe('live');
  });

  test('counts how often the server came back: after it was lost, and where it was started anew unseen', () => {
    const stats = (uptime: number): Happening => ({
      kind: 'event',
      event: { event: 'stats', id: '', data: JSON.stringify({ uptime_seconds: uptime, caches: [] }) },
    });
    const first = after({ kind: 'connecting' }, stats(400), second(1), stats(401));
    expect(first.returns).toBe(0);
    const shown = [{ kind: 'hidden' } as const, { kind: 'connecting' } as const, stats(500)].reduce(nextLive, first);
    expect(shown.returns).toBe(0);
    expect(nextLive(shown, stats(2)).returns).toBe(1);
    const back = [{ kind: 'lost', why: 'gone' } as const, { kind: 'connecting' } as const, stats(502), stats(503)].reduce(nextLive, shown);
    expect(back.returns).toBe(1);
    const lostUnseen = [{ kind: 'lost', why: 'gone' } as const, { kind: 'hidden' } as const, { kind: 'connecting' } as const, stats(504)].reduce(nextLive, first);
    expect(lostUnseen.returns).toBe(1);
  });

  test('counts what it cannot read, and goes on', () => {
    const bad: Happening = { kind: 'event', event: { event: 'second', id: '', data: '{"second":"x"}' } };
    const worse: Happening = { kind: 'event', event: { event: 'stats', id: '', data: '{' } };
    expect(after(bad, worse, second(1))).toMatchObject({ unread: 2, samples: [{ second: 1 }] });
  });
});
