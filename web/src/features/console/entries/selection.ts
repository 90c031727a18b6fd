// Which entries are looked at, as the address has it.
import { ORDERS } from '../api/entries';
import type { Order, Selection } from '../api/entries';

export const ORDER_NAMES: Readonly<Record<Order, string>> = {
  cost: 'dearest to fetch first',
  bytes: 'largest first',
  age: 'oldest first',
  expires: 'next to expire first',
  heat: 'most read first',
  key: 'by key',
};

export function readSelection(query: URLSearchParams): Selection {
  return {
    part: query.get('part') ?? '',
    tag: query.get('tag') ?? '',
    route: query.get('route') ?? '',
    order: ORDERS.find((order) => order === query.get('order')) ?? 'bytes',
  };
}
