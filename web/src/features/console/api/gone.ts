// What left memory of late, why and by which purge: `/v1/gone`.
import { count, entriesOf, instant, list, oneOf, optional, orElse, shape, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import type { Api } from './api';

const purgeShape = shape({ what: text, mode: oneOf('soft', 'hard'), at: instant });

const goneShape = shape({
  cache: orElse(text, ''),
  key: text,
  cause: text,
  /** When it was taken out, which may be long after the purge. */
  at: instant,
  /** Where a purge was the cause, and is still remembered. */
  purge: optional(purgeShape),
});
export type GoneKey = Decoded<typeof goneShape>;

const goneKeysShape = shape({
  /** The newest first. */
  gone: list(goneShape),
  /** How many that fit are remembered, by their causes. */
  by_cause: orElse(entriesOf(count), []),
  /** So many more went too fast to be written down. */
  left_out: orElse(count, 0),
});
export type GoneKeys = Decoded<typeof goneKeysShape>;

/** Which of them. What is empty chooses nothing; a key goes before a prefix. */
export interface GoneChoice {
  readonly key: string;
  readonly prefix: string;
  readonly cache: string;
}

/** The server tells no more at once, and remembers four times as many. */
export const MOST_GONE = 1000;

/** How many entries of a route left memory of late, by their causes; what they were is not asked for. */
export async function countGone(api: Api, route: string, signal: AbortSignal): Promise<GoneKeys['by_cause']> {
  const query = [
    ['route', route],
    ['limit', 1],
  ] as const;
  return (await api.get('v1/gone', query, goneKeysShape, signal)).by_cause;
}

export function fetchGone(api: Api, { key, prefix, cache }: GoneChoice, signal: AbortSignal): Promise<GoneKeys> {
  const query = [
    ['key', key],
    ['prefix', key === '' ? prefix : ''],
    ['cache', cache],
    ['limit', MOST_GONE],
  ] as const;
  return api.get('v1/gone', query, goneKeysShape, signal);
}
