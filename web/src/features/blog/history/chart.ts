// Where each load stands in the history chart. A logarithmic scale: 3 ms and 2000 ms must both be seen.
import { markOf } from '../verdict/mark';
import type { Mark } from '../../../ui/mark';
import type { Load, Visit } from './visit';

export const CHART = { width: 320, height: 168, left: 50, right: 8, top: 30, bottom: 158 } as const;

/** One decade below the fastest hit a browser can time, one above the slowest the backend's budget allows. */
const FASTEST_MS = 1;
const SLOWEST_MS = 10_000;

/** So few loads are not spread over the whole width, and their distance stays the same for a while. */
const FEWEST_SLOTS = 12;

/** Where marks stand closer than this, they are drawn smaller. */
const FULL_SIZE_PITCH = 12;

export interface Point {
  readonly x: number;
  readonly y: number;
  /** Of the mark; 1 is its full size. */
  readonly scale: number;
  readonly mark: Mark;
  readonly load: Load;
}

export function pointsOf(visit: Visit): readonly Point[] {
  const placed = placesOf(visit);
  const slots = Math.max((placed.at(-1)?.slot ?? 0) + 1, FEWEST_SLOTS);
  const pitch = (CHART.width - CHART.right - CHART.left) / slots;
  return placed.map(({ load, slot }) => ({
    x: CHART.left + (slot + 0.5) * pitch,
    y: heightOf(load.ms),
    scale: Math.min(pitch / FULL_SIZE_PITCH, 1),
    mark: markOf(load.ending, load.verdict),
    load,
  }));
}

/** The middle of each place where loads between two kept ones have left the chart. */
export function gapsOf(points: readonly Point[]): readonly number[] {
  return points.flatMap(({ x, load }, at) => {
    const before = points[at - 1];
    return before === undefined || isNext(before.load, load) ? [] : [(before.x + x) / 2];
  });
}

/** A slot for each load, and an empty one for those that are left out between two. */
function placesOf(visit: Visit): readonly { readonly load: Load; readonly slot: number }[] {
  let slot = -1;
  return visit.map((load, at) => {
    const before = visit[at - 1];
    slot += before === undefined || isNext(before, load) ? 1 : 2;
    return { load, slot };
  });
}

function isNext(before: Load, load: Load): boolean {
  return load.number === before.number + 1;
}

/** Times in a row above the scale: no mark is ever so high. */
export const LABELS_Y = 12;

export interface Label {
  /** The middle of the text, kept clear of the scale on the left and of the edge on the right. */
  readonly x: number;
  readonly point: Point;
}

/** The latest load has one, and the one it is measured by, if there is room for both. */
export function labelsOf(points: readonly Point[], compared: Load | undefined): readonly Label[] {
  const latest = points.at(-1);
  if (latest === undefined) return [];
  const last = { x: labelPlace(latest), point: latest };
  const slow = points.find(({ load }) => load === compared);
  if (slow === undefined || last.x - labelPlace(slow) < 2 * LABEL_HALF) return [last];
  return [{ x: labelPlace(slow), point: slow }, last];
}

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
