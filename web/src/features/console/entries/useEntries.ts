// Entries page by page, as one scrolls. Of a million no more are kept than one can look through.
import { useInfiniteQuery } from '@tanstack/react-query';
import { useCallback, useMemo } from 'react';
import { useApi } from '../api/ApiContext';
import { fetchEntries } from '../api/entries';
import type { EntriesPage, Selection, StoredEntry } from '../api/entries';

const PAGE_ROWS = 200;
/** So many rows are kept; who wants more says more exactly what he is looking for. */
export const MOST_ROWS = 10_000;

export interface EntriesTold {
  readonly first: EntriesPage;
  readonly entries: readonly StoredEntry[];
  /** There are more than are kept. */
  readonly isCut: boolean;
}

export function useEntries(selection: Selection) {
  const api = useApi();
  const query = useInfiniteQuery({
    queryKey: ['entries', 'list', selection],
    queryFn: ({ signal, pageParam }) => fetchEntries(api, selection, pageParam, PAGE_ROWS, signal),
    initialPageParam: initial(),
    getNextPageParam: (last: EntriesPage, pages) =>
      last.entries.length === 0 || pages.length * PAGE_ROWS >= MOST_ROWS ? null : last.next,
  });
  const { data, hasNextPage, isFetching, fetchNextPage } = query;
  const told = useMemo((): EntriesTold | undefined => {
    const first = data?.pages[0];
    if (data === undefined || first === undefined) return undefined;
    const entries = data.pages.flatMap((page) => page.entries);
    return { first, entries, isCut: !hasNextPage && (data.pages.at(-1)?.next ?? null) !== null };
  }, [data, hasNextPage]);
  const more = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  return { query, told, more };
}

/** The first page has no cursor. */
function initial(): string | null {
  return null;
}
