// Which parameters of queries multiply what is stored: `/v1/copies`.
import { count, flag, list, optional, orElse, shape, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import type { Api } from './api';

const copiesShape = shape({
  parameter: text,
  is_tracking: orElse(flag, false),
  entries: count,
  pages: count,
  spare_bytes: count,
  most: shape({ page: text, entries: count, route: optional(text) }),
});
export type CopiesOf = Decoded<typeof copiesShape>;

const foundShape = shape({ looked_at: count, total: count, copies: list(copiesShape) });
export type CopiesFound = Decoded<typeof foundShape>;

/** `route`: only of this one; empty: of all. */
export function fetchCopies(api: Api, route: string, signal: AbortSignal): Promise<CopiesFound> {
  return api.get('v1/copies', [['route', route]], foundShape, signal);
}
