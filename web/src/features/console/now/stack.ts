// Geometry of columns that stand on each other, in a square of 1 by 1 whose origin is at the top left.

/** The least height of a scale that shows `most`: 1, 2 or 5 and zeros. */
export function scaleOf(most: number): number {
  if (!(most > 0)) return 1;
  const size = 10 ** Math.floor(Math.log10(most));
  const step = [1, 2, 5, 10].find((known) => known * size >= most) ?? 10;
  return step * size;
}

/**
 * One path for each layer, from the lowest to the highest. `null`: nothing is known of that column, and there is a gap.
 *
 * @param columns each with a height for each layer
 */
export function stackPaths(columns: readonly (readonly number[] | null)[], scale: number): readonly string[] {
  const layers = Math.max(0, ...columns.map((column) => column?.length ?? 0));
  const width = 1 / Math.max(1, columns.length);
  return Array.from({ length: layers }, (_, layer) =>
    columns
      .map((column, at) => {
        const height = column?.[layer] ?? 0;
        if (column === null || height === 0) return '';
        const below = column.slice(0, layer).reduce((sum, part) => sum + part, 0);
        const top = 1 - (below + height) / scale;
        return `M${place(at * width)} ${place(top)}h${place(width)}v${place(height / scale)}h${place(-width)}z`;
      })
      .join(''),
  );
}

/** Finer than any screen. */
function place(value: number): string {
  return String(Number(value.toFixed(5)));
}
