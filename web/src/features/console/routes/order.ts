// The order of the table, and what each column is ordered by.
import type { Route } from '../api/routes';
import { requestsOf } from '../api/samples';

export const COLUMNS = ['route', 'requests', 'hit_ratio', 'origin_seconds', 'saved_seconds', 'miss_p95', 'bytes'] as const;
export type Column = (typeof COLUMNS)[number];

export interface Order {
  readonly column: Column;
  readonly isDescending: boolean;
}

/** What costs the origin most is what most come for. */
export const USUAL: Order = { column: 'origin_seconds', isDescending: true };

/** As in an address: `bytes`, or `-bytes` from the largest down. What is not understood is the usual one. */
export function readOrder(text: string | null): Order {
  const column = COLUMNS.find((known) => known === text?.replace(/^-/, ''));
  return column === undefined ? USUAL : { column, isDescending: text?.startsWith('-') ?? false };
}

export function writeOrder({ column, isDescending }: Order): string {
  return `${isDescending ? '-' : ''}${column}`;
}

/** Pressed once it is from the largest down, as numbers are looked at; names are read from A. */
export function pressed(order: Order, column: Column): Order {
  if (order.column === column) return { column, isDescending: !order.isDescending };
  return { column, isDescending: column !== 'route' };
}

/** What has no number comes last, whichever way. */
export function sorted(routes: readonly Route[], { column, isDescending }: Order): readonly Route[] {
  const sign = isDescending ? -1 : 1;
  return routes.toSorted((one, other) => {
    if (column === 'route') return sign * one.route.localeCompare(other.route);
    const [left, right] = [numberOf(one, column), numberOf(other, column)];
    if (left === right) return one.route.localeCompare(other.route);
    if (left === null) return 1;
    if (right === null) return -1;
    return sign * (left - right);
  });
}

function numberOf(route: Route, column: Exclude<Column, 'route'>): number | null {
  switch (column) {
    case 'requests':
      return requestsOf(route.requests);
    case 'hit_ratio':
      return route.hit_ratio;
    case 'origin_seconds':
      return route.origin_seconds;
    case 'saved_seconds':
      return route.saved_seconds;
    case 'miss_p95':
      return route.miss_seconds?.p95 ?? null;
    case 'bytes':
      return route.bytes;
  }
}
