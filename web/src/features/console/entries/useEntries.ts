// Entries page by page, as one scrolls. Of a million no more are kept than one can look through.
import { useInfiniteQuery, useQuery } from '@tanstack/react-query';
import { useCallback, useMemo } from 'react';
import { useApi } from '../api/ApiContext';
import { fetchEntries, fetchExactly } from '../api/entries';
import type { EntriesPage, Selection, StoredEntry } from '../api/entries';

const PAGE_ROWS = 200;
/** So many rows are kept; who wants more says more exactly what he is looking for. */
export const MOST_ROWS = 10_000;
/** While a large cache is being looked at as a whole, it is asked so much later again. */
const AGAIN_MS = 300;
/** Where it does not answer meanwhile, later. */
const AFTER_FAILURE_MS = 5000;

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
    refetchInterval: ({ state }) => (state.data?.pages[0]?.is_complete === false ? afterMs(state.error) : false),
    // What comes behind a page is known once all has been looked at.
    getNextPageParam: (last: EntriesPage, pages) =>
      !last.is_complete || last.entries.length === 0 || pages.length * PAGE_ROWS >= MOST_ROWS ? null : last.next,
  });
  const { part, tag, route } = selection;
  const exact = useQuery({
    queryKey: ['entries', 'exactly', part],
    // With a tag or a route as well, it may not be one of those that are wanted.
    enabled: part !== '' && tag === '' && route === '',
    queryFn: ({ signal }) => fetchExactly(api, part, signal),
    refetchInterval: ({ state }) => (state.data?.isSure === false ? afterMs(state.error) : false),
  });
  const asked = exact.data?.entry ?? null;
  const { data, hasNextPage, isFetching, fetchNextPage } = query;
  const told = useMemo((): EntriesTold | undefined => {
    const first = data?.pages[0];
    if (data === undefined || first === undefined) return undefined;
    const listed = data.pages.flatMap((page) => page.entries);
    // Whoever types a whole key means that one, wherever the order would put it.
    const entries = asked === null ? listed : [asked, ...listed.filter((entry) => entry.key !== asked.key || entry.cache !== asked.cache)];
    const isCut = first.is_complete && !hasNextPage && (data.pages.at(-1)?.next ?? null) !== null;
    return { first, entries, isCut };
  }, [data, hasNextPage, asked]);
  const more = useCallback(() => {
    if (hasNextPage && !isFetching) void fetchNextPage();
  }, [hasNextPage, isFetching, fetchNextPage]);
  return { query, told, more };
}

/** The first page has no cursor. */
function initial(): string | null {
  return null;
}

function afterMs(error: Error | null): number {
  return error === null ? AGAIN_MS : AFTER_FAILURE_MS;
}
