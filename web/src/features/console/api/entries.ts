// What is stored: `/v1/entries`, `/v1/entry`, `/v1/tags`.
import { amount, count, flag, instant, list, oneOf, optional, orElse, pair, shape, signed, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import { parseList } from '../../../wire/structuredField';
import type { Api } from './api';

export const ORDERS = ['cost', 'bytes', 'age', 'expires', 'heat', 'key'] as const;
export type Order = (typeof ORDERS)[number];

const freshnessFields = {
  age_seconds: amount,
  state: oneOf('fresh', 'stale-usable', 'rescue', 'over', 'purged'),
  /** Below zero once it is stale. */
  fresh_for_seconds: optional(signed),
  stale_while_revalidate_seconds: orElse(amount, 0),
  stale_if_error_seconds: orElse(amount, 0),
};

const entryFields = {
  ...freshnessFields,
  cache: orElse(text, ''),
  key: text,
  bytes: count,
  tags: orElse(list(text), []),
  cost_seconds: optional(amount),
  heat: optional(text),
  route: optional(text),
  variants: orElse(count, 1),
};
const entryShape = shape(entryFields);
export type StoredEntry = Decoded<typeof entryShape>;
export type Freshness = Pick<
  StoredEntry,
  'age_seconds' | 'state' | 'fresh_for_seconds' | 'stale_while_revalidate_seconds' | 'stale_if_error_seconds'
>;

const pageShape = shape({
  snapshot_at: optional(instant),
  total: optional(count),
  /** Where not, all of a large cache is being looked at just now: what is told are the first of what was seen so far. */
  is_complete: orElse(flag, true),
  entries: list(entryShape),
  next: optional(text),
});
export type EntriesPage = Decoded<typeof pageShape>;

/** Which of them, and in which order. What is empty chooses nothing. */
export interface Selection {
  /** What stands somewhere in the key. */
  readonly part: string;
  readonly tag: string;
  readonly route: string;
  readonly order: Order;
}

export function fetchEntries(
  api: Api,
  { part, tag, route, order }: Selection,
  after: string | null,
  limit: number,
  signal: AbortSignal,
): Promise<EntriesPage> {
  const query = [
    ['contains', part],
    ['tag', tag],
    ['route', route],
    ['order', order],
    ['limit', limit],
    ['after', after],
  ] as const;
  return api.get('v1/entries', query, pageShape, signal);
}

/** What is stored under this very key, or as the server spells it. */
export interface Exactly {
  readonly entry: StoredEntry | null;
  /** Not all has been looked at yet. */
  readonly isSure: boolean;
}

export async function fetchExactly(api: Api, key: string, signal: AbortSignal): Promise<Exactly> {
  const query = [
    ['prefix', key],
    ['order', 'key'],
    ['limit', 1],
  ] as const;
  const { entries, is_complete } = await api.get('v1/entries', query, pageShape, signal);
  const [first] = entries;
  const entry = first?.key === key ? first : null;
  return { entry, isSure: is_complete || entry !== null };
}

/** One of the hosts with a port that keys are stored for, as `127.0.0.1:8080`; `null`: none is known. */
export async function fetchHostWithPort(api: Api, host: string, signal: AbortSignal): Promise<string | null> {
  const query = [
    ['contains', `//${host}:`],
    ['order', 'key'],
    ['limit', 1],
  ] as const;
  const { entries } = await api.get('v1/entries', query, pageShape, signal);
  return /^https?:\/\/([^/]+:\d+)\//i.exec(entries[0]?.key ?? '')?.[1] ?? null;
}

/** Some that are stored, the most read first. */
export async function fetchMostRead(api: Api, limit: number, signal: AbortSignal): Promise<readonly StoredEntry[]> {
  const query = [
    ['order', 'heat'],
    ['limit', limit],
  ] as const;
  return (await api.get('v1/entries', query, pageShape, signal)).entries;
}

const variantShape = shape({
  status: count,
  fields: orElse(list(pair(text, text)), []),
  differs_by: orElse(list(pair(text, optional(text))), []),
  body_bytes: orElse(count, 0),
});
export type Variant = Decoded<typeof variantShape>;

const openEntryShape = shape({ ...entryFields, variants_held: orElse(list(variantShape), []) });
export type OpenEntry = Decoded<typeof openEntryShape>;

export function fetchEntry(api: Api, key: string, signal: AbortSignal): Promise<OpenEntry> {
  return api.get('v1/entry', [['key', key]], openEntryShape, signal);
}

/** The beginning of a body. */
export interface Body {
  readonly text: string;
  /** It is none that could be read as text. */
  readonly isBinary: boolean;
  /** In which content coding it came, if in one; and whether `text` is without it. */
  readonly coding: string | null;
  readonly isDecoded: boolean;
}

export async function fetchBody(api: Api, key: string, variant: number, signal: AbortSignal): Promise<Body> {
  const query = [
    ['key', key],
    ['variant', variant],
  ] as const;
  const response = await api.open('v1/entry/body', query, {}, signal);
  const [said] = parseList(response.headers.get('larder-body') ?? '') ?? [];
  const coding = said?.params.get('coding');
  return {
    text: await response.text(),
    isBinary: said?.value === 'binary',
    coding: typeof coding === 'string' ? coding : null,
    isDecoded: said?.params.get('decoded') === true,
  };
}

const tagShape = shape({ tag: text, entries: count, bytes: count });
const tagsShape = shape({ total: orElse(count, 0), tags: list(tagShape) });
export type Tags = Decoded<typeof tagsShape>;

/** So many of the largest. */
export function fetchTags(api: Api, limit: number, signal: AbortSignal): Promise<Tags> {
  const query = [
    ['order', 'bytes'],
    ['limit', limit],
  ] as const;
  return api.get('v1/tags', query, tagsShape, signal);
}

