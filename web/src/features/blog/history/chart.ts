// Where each load stands in the history chart. A logarithmic scale: 3 ms and 2000 ms must both be seen.
import { markOf } from '../verdict/mark';
import type { Mark } from '../verdict/mark';
import type { Load, Visit } from './visit';
import { KEPT_LOADS } from './visit';

export const CHART = { width: 320, height: 168, left: 50, right: 8, top: 20, bottom: 158 } as const;

/** One decade below the fastest hit a browser can time, one above the slowest the backend's budget allows. */
const FASTEST_MS = 1;
const SLOWEST_MS = 10_000;

/** So few loads are not spread over the whole width, and their distance stays the same for a while. */
const FEWEST_SLOTS = 12;

export interface Point {
  readonly x: number;
  readonly y: number;
  readonly mark: Mark;
  readonly load: Load;
}

export function pointsOf(visit: Visit): readonly Point[] {
  const slots = Math.min(Math.max(visit.length, FEWEST_SLOTS), KEPT_LOADS);
  const slotWidth = (CHART.width - CHART.right - CHART.left) / slots;
  return visit.slice(-KEPT_LOADS).map((load, index) => ({
    x: CHART.left + (index + 0.5) * slotWidth,
    y: heightOf(load.ms),
    mark: markOf(load.ending, load.verdict),
    load,
  }));
}

/** The middle of a point's label, kept clear of the scale on the left and of the edge on the right. */
export function labelPlace({ x }: Point): number {
  return Math.min(Math.max(x, CHART.left + LABEL_HALF), CHART.width - LABEL_HALF);
}
const LABEL_HALF = 26;

/** Times outside the scale stand on its edge. */
export function heightOf(ms: number): number {
  const within = Math.min(Math.max(ms, FASTEST_MS), SLOWEST_MS);
  const share = Math.log10(within / FASTEST_MS) / Math.log10(SLOWEST_MS / FASTEST_MS);
  return CHART.bottom - share * (CHART.bottom - CHART.top);
}

export const TICKS = [
  { ms: 1, label: '1 ms' },
  { ms: 10, label: '10 ms' },
  { ms: 100, label: '100 ms' },
  { ms: 1_000, label: '1 s' },
  { ms: 10_000, label: '10 s' },
] as const;
