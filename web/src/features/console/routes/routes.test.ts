// The table's order, who wastes the origin's time, and why.
import { describe, expect, test } from 'vitest';
import type { Route } from '../api/routes';
import { pressed, readOrder, sorted, USUAL, writeOrder } from './order';
import { sinceThen } from './sinceThen';
import { failing, mainReason, missReasons, sharesOf } from './waste';

const route = (given: Partial<Route>): Route => ({
  route: '/a',
  line: null,
  upstream: null,
  is_cached: true,
  requests: { hit: 0, stale: 0, miss: 0, collapsed: 0, pass: 0, refused: 0 },
  reader_errors: 0,
  hit_ratio: null,
  reasons: [],
  hit_seconds: null,
  miss_seconds: null,
  origin_failures: 0,
  origin_calls: 0,
  origin_seconds: 0,
  saved_seconds: 0,
  entries: 0,
  bytes: 0,
  max_bytes: null,
  fetches_now: null,
  waiting: 0,
  limited: 0,
  ...given,
});

describe('the order', () => {
  test('is what the address says, and the usual one where that makes no sense', () => {
    expect(readOrder('-bytes')).toEqual({ column: 'bytes', isDescending: true });
    expect(readOrder('route')).toEqual({ column: 'route', isDescending: false });
    expect(readOrder('nonsense')).toEqual(USUAL);
    expect(readOrder(null)).toEqual(USUAL);
    expect(readOrder(writeOrder(USUAL))).toEqual(USUAL);
  });

  test('turns when its column is pressed again, and begins with the largest', () => {
    const once = pressed(USUAL, 'bytes');
    expect(once).toEqual({ column: 'bytes', isDescending: true });
    expect(pressed(once, 'bytes')).toEqual({ column: 'bytes', isDescending: false });
    expect(pressed(USUAL, 'route').isDescending).toBe(false);
  });

  test('puts what has no number last, whichever way', () => {
    const routes = [route({ route: '/none' }), route({ route: '/low', hit_ratio: 0.1 }), route({ route: '/high', hit_ratio: 0.9 })];
    const names = (isDescending: boolean) => sorted(routes, { column: 'hit_ratio', isDescending }).map(({ route: name }) => name);
    expect(names(true)).toEqual(['/high', '/low', '/none']);
    expect(names(false)).toEqual(['/low', '/high', '/none']);
  });
});

describe('counts from a moment on', () => {
  const requests = { hit: 10, stale: 0, miss: 90, collapsed: 0, pass: 0, refused: 0 };
  const then = route({ requests, hit_ratio: 0.1, reasons: [['set-cookie', 90]], origin_seconds: 9, reader_errors: 3 });

  test('are what came since, with a ratio of their own', () => {
    const now = { ...then, requests: { ...requests, hit: 19, miss: 91 }, reasons: [['set-cookie', 91]] as const, origin_seconds: 9.5 };
    const [since] = sinceThen([now], [then]);
    expect(since).toMatchObject({ requests: { hit: 9, miss: 1 }, hit_ratio: 0.9, reasons: [['set-cookie', 1]], origin_seconds: 0.5, reader_errors: 0 });
  });

  test('are all there is of a route that is new, or was counted anew', () => {
    const anew = { ...then, requests: { ...requests, miss: 2 } };
    expect(sinceThen([anew, route({ route: '/new' })], [then])).toEqual([anew, route({ route: '/new' })]);
  });
});

describe('what failed', () => {
  test('comes before why it was no hit, and the route with the most errors first', () => {
    const requests = { hit: 50, stale: 0, miss: 50, collapsed: 0, pass: 0, refused: 0 };
    const reasons = [['expired', 50]] as const;
    const few = route({ route: '/few', requests, reasons, reader_errors: 10 });
    const many = route({ route: '/many', requests, reasons, reader_errors: 40 });
    const none = route({ route: '/none', requests, reasons });
    expect(mainReason(many)).toMatch(/^40\s% got an error$/);
    expect(mainReason(none)).toMatch(/^100\s% because what was stored had expired$/);
    expect(failing([few, none, many]).map(({ route: name }) => name)).toEqual(['/many', '/few']);
  });
});

describe('waste', () => {
  test('names the five that cost most, and the others as one', () => {
    const routes = [1, 2, 3, 4, 5, 6, 7].map((seconds) => route({ route: `/${seconds}`, origin_seconds: seconds }));
    const shares = sharesOf(routes);
    expect(shares.map(({ name }) => name)).toEqual(['/7', '/6', '/5', '/4', '/3', '2 others']);
    expect(shares.reduce((sum, { share }) => sum + share, 0)).toBeCloseTo(1);
    expect(sharesOf([route({})])).toEqual([]);
  });

  test('is told in words, with the remedy, by what cost the origin something', () => {
    const me = route({ reasons: [['hit', 900], ['set-cookie', 38], ['cookie', 62], ['expired', 0]] });
    const [first, second, ...more] = missReasons(me);
    expect(first?.says).toBe('62\u00a0% because the request carried a cookie.');
    expect(second?.says).toBe('38\u00a0% because the answer sets a cookie (Set-Cookie).');
    expect(second?.remedy).toContain('`set_cookie = "store-without"`');
    expect(more).toEqual([]);
    expect(mainReason(me)).toBe('62\u00a0% because the request carried a cookie');
  });

  test('shows a reason that it does not know as it is', () => {
    expect(missReasons(route({ reasons: [['moon-phase', 1]] }))[0]?.says).toBe('100\u00a0% because moon-phase.');
  });
});
