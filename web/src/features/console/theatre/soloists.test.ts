// Single requests go on as far as there are lanes, what is seldom first; the others wait a while, or go by.
import { describe, expect, test } from 'vitest';
import type { PastRequest } from '../api/explain';
import { enter, joinedBy, MOST_ALONE, pathOf, wayOf } from './soloists';
import { endOf } from './troupe';

function request(id: number, more: Partial<PastRequest> = {}): PastRequest {
  const answered = { verdict: 'hit', reason: 'hit', says: '', status: 200, seconds: 0.001, origin_seconds: null, tier: 'memory' };
  return { id: String(id), at: null, method: 'GET', url: `http://shop.example/posts/${id}`, route: '/posts', trace_id: null, ...answered, ...more };
}

const hits = (count: number) => Array.from({ length: count }, (_, at) => request(at));

describe('single requests', () => {
  test('have a lane each, and those for whom there is none wait', () => {
    const first = enter([], hits(14), 0, true);
    expect(first.troupe).toHaveLength(MOST_ALONE);
    expect(new Set(first.troupe.map(({ lane }) => lane)).size).toBe(MOST_ALONE);
    expect(first.waiting.map(({ id }) => id)).toEqual(['10', '11', '12', '13']);
    const meanwhile = enter(first.troupe, first.waiting, 500, true);
    expect(meanwhile.entered).toEqual([]);
    const last = Math.max(...first.troupe.map((traveller) => endOf(traveller, true)));
    const then = enter(meanwhile.troupe, meanwhile.waiting, last, true);
    expect(then.troupe.map(({ id }) => id)).toEqual(['10', '11', '12', '13']);
    expect(then.waiting).toEqual([]);
  });

  test('go on before others where theirs is seldom there', () => {
    const miss = request(99, { verdict: 'miss', reason: 'uri-miss', tier: 'origin', origin_seconds: 9 });
    const { entered, troupe } = enter([], [...hits(12), miss], 0, true);
    expect(entered[1]).toBe(miss);
    expect(troupe.find(({ way }) => way === 'miss')?.alone?.waitMs).toBe(3000);
  });

  test('do not wait without end', () => {
    const waiting = joinedBy(hits(15), [request(100), ...hits(15)]);
    expect(waiting).toHaveLength(20);
    expect(waiting[0]?.id).toBe('11');
  });

  test('are called by their path, and go as far as what answered them', () => {
    expect(pathOf('https://shop.example:8443/a/b?c=…')).toBe('/a/b?c=…');
    expect(pathOf('https://shop.example')).toBe('/');
    expect(wayOf(request(1, { tier: 'shared' }))).toBe('shared');
    expect(wayOf(request(1, { verdict: 'collapsed', tier: 'origin' }))).toBe('collapsed');
    expect(wayOf(request(1, { verdict: 'new word' }))).toBe('pass');
    const [posted] = enter([], [request(1, { method: 'POST', url: `http://a/${'x'.repeat(80)}` })], 0, true).troupe;
    expect(posted?.alone?.label).toMatch(/^POST \/x+…$/);
    expect(posted?.alone?.label.length).toBeLessThan(30);
  });
});
