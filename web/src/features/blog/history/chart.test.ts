// Geometry: in order, in bounds, logarithmic.
import { describe, expect, test } from 'vitest';
import { CHART, heightOf, labelPlace, pointsOf } from './chart';
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

  test('keeps the label of the latest load clear of both edges', () => {
    const points = pointsOf(visitOf(Array<number>(30).fill(5)));
    const places = points.map(labelPlace);
    expect(Math.min(...places)).toBeGreaterThanOrEqual(CHART.left + 20);
    expect(Math.max(...places)).toBeLessThanOrEqual(CHART.width - 20);
  });
});
