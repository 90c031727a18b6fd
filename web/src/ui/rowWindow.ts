// Which rows of a long list are in sight.

/** So many rows beside those in sight are there already when one scrolls. */
const BESIDE = 8;

export interface RowWindow {
  readonly first: number;
  /** Below `first` where there is nothing. */
  readonly last: number;
}

export function windowOf(count: number, rowPx: number, scrolledPx: number, boxPx: number): RowWindow {
  const first = Math.max(0, Math.min(Math.floor(scrolledPx / rowPx), count - 1) - BESIDE);
  const last = Math.min(count - 1, Math.ceil((scrolledPx + boxPx) / rowPx) + BESIDE);
  return { first, last };
}
