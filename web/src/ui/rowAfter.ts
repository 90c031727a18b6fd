// Where a key leads in a list of rows.

/** `null`: the key leads nowhere. `page`: so many rows are in sight. */
export function rowAfter(key: string, at: number, count: number, page: number): number | null {
  const wanted = wantedRow(key, at, count, page);
  return wanted === null || count === 0 ? null : Math.max(0, Math.min(wanted, count - 1));
}

function wantedRow(key: string, at: number, count: number, page: number): number | null {
  switch (key) {
    case 'ArrowDown':
      return at + 1;
    case 'ArrowUp':
      return at - 1;
    case 'PageDown':
      return at + page;
    case 'PageUp':
      return at - page;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}
