// Geometry: in order, in bounds, logarithmic.
import { describe, expect, test } from 'vitest';
import { CHART, gapsOf, heightOf, LABELS_Y, labelsOf, pointsOf } from './chart';
import { loadOf, visitOf } from '../testing/loads';
import { withLoad } from './visit';

describe('the chart', () => {
  test('gives every tenfold the same height', () => {
    const decade = heightOf(1) - heightOf(10);
    expect(heightOf(10) - heightOf(100)).toBeCloseTo(decade);
    expect(heightOf(1000) - heightOf(10_000)).toBeCloseTo(decade);
  });

  test('keeps what is off the scale on its edge', () => {
    expect(heightOf(0)).toBe(CHART.bottom);
    expect(heightOf(0.2)).toBe(CHART.bottom);
    expect(heightOf(60_000)).toBe(CHART.top);
  });

  test('shows a hit well apart from a miss', () => {
    expect(heightOf(3) - heightOf(2000)).toBeGreaterThan((CHART.bottom - CHART.top) / 2);
  });

  test('stays within its width, from one load to thirty', () => {
    for (const loads of [1, 12, 13, 30]) {
      const points = pointsOf(visitOf(Array<number>(loads).fill(5)));
      expect(points).toHaveLength(loads);
      expect(points.every(({ x }) => x > CHART.left && x < CHART.width)).toBe(true);
      expect(points.map(({ x }) => x)).toEqual(points.map(({ x }) => x).toSorted((a, b) => a - b));
    }
  });

  test('does not spread a few loads over the whole width', () => {
    const [first, second] = pointsOf(visitOf([5, 5]));
    expect((second?.x ?? 0) - (first?.x ?? 0)).toBeLessThan(30);
  });

  test('marks a failed load as failed, whatever the cache said', () => {
    const verdict = { kind: 'hit', ageSeconds: 1, ttlSeconds: 4 } as const;
    const [point] = pointsOf(withLoad([], loadOf({ ending: 'failed', verdict })));
    expect(point?.mark).toBe('failed');
  });

  test('puts no two marks on top of each other', () => {
    for (const loads of [1, 13, 30]) {
      const points = pointsOf(visitOf(Array<number>(loads).fill(5)));
      const pitches = points.slice(1).map(({ x }, at) => x - (points[at]?.x ?? 0));
      expect(Math.min(12, ...pitches)).toBeGreaterThanOrEqual(9 * (points[0]?.scale ?? 1) - 0.1);
    }
  });

  test('leaves a place open where loads have left it', () => {
    const visit = visitOf(Array.from({ length: 40 }, () => 5));
    const points = pointsOf([...visitOf([2000]), ...visit]);
    const [gap, ...more] = gapsOf(points);
    expect(more).toEqual([]);
    expect(gap).toBeGreaterThan(points[0]?.x ?? Infinity);
    expect(gap).toBeLessThan(points[1]?.x ?? 0);
    expect(gapsOf(pointsOf(visit))).toEqual([]);
    expect(points.every(({ x }) => x > CHART.left && x < CHART.width)).toBe(true);
  });

  test('keeps labels clear of both edges, of each other and of every mark', () => {
    for (const loads of [1, 2, 3, 5, 12, 30]) {
      // The highest mark there can be is the first one.
      const visit = visitOf([60_000, ...Array<number>(loads).fill(5)]);
      const labels = labelsOf(pointsOf(visit), visit[0]);
      expect(labels.at(-1)?.point.load).toBe(visit.at(-1));
      const places = labels.map(({ x }) => x);
      expect(Math.min(...places)).toBeGreaterThanOrEqual(CHART.left + 20);
      expect(Math.max(...places)).toBeLessThanOrEqual(CHART.width - 20);
      expect(labels.length === 1 || (places[1] ?? 0) - (places[0] ?? 0) >= 52).toBe(true);
    }
    // A mark reaches six units above its place.
    expect(LABELS_Y).toBeLessThan(heightOf(60_000) - 6);
    expect(labelsOf([], undefined)).toEqual([]);
  });
});
