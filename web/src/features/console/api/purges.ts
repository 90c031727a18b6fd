// Purges: asked for, tried beforehand, and followed through the tiers.
import { count, list, oneOf, optional, orElse, shape, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import type { Api } from './api';

/** One of what a purge can name. */
export type Target =
  | { readonly all: true }
  | { readonly keys: readonly string[] }
  | { readonly prefix: string }
  | { readonly glob: string }
  | { readonly tags: readonly string[] };

/** `soft`: stale, and still of use where the origin fails. `hard`: gone. */
export type Mode = 'soft' | 'hard';

const tierShape = shape({
  tier: text,
  state: text,
  by: optional(count),
  of: optional(count),
  missing: orElse(list(text), []),
  reason: optional(text),
});
export type TierState = Decoded<typeof tierShape>;

const cdnShape = shape({ name: text, vendor: orElse(text, ''), state: text, reason: optional(text) });

export const storyShape = shape({
  id: text,
  what: list(text),
  purges: orElse(count, 1),
  mode: oneOf('soft', 'hard'),
  at: text,
  by: orElse(text, ''),
  tiers: shape({ memory: tierShape, shared: optional(tierShape), cdn: orElse(list(cdnShape), []) }),
});
export type Story = Decoded<typeof storyShape>;

const storiesShape = shape({ purges: list(storyShape) });

/** Those that are remembered, the newest first. */
export async function fetchStories(api: Api, signal: AbortSignal): Promise<readonly Story[]> {
  const { purges } = await api.get('v1/purges', [], storiesShape, signal);
  return purges.toReversed();
}

export function fetchStory(api: Api, id: string, signal: AbortSignal): Promise<Story> {
  return api.get(`v1/purges/${encodeURIComponent(id)}`, [], storyShape, signal);
}

const keyShape = shape({ key: text, purged: count, did_you_mean: orElse(list(text), []) });

const purgedShape = shape({
  /** Not counted where a single step purges all of them. */
  purged: optional(count),
  keys: orElse(list(keyShape), []),
  did_you_mean: orElse(list(text), []),
  receipts: orElse(list(shape({ tiers: list(tierShape) })), []),
  /** Where the server remembers purges, it has a name by which it is asked for. */
  id: optional(text),
  what: optional(list(text)),
  at: optional(text),
  by: optional(text),
  tiers: optional(shape({ memory: tierShape, shared: optional(tierShape), cdn: orElse(list(cdnShape), []) })),
});
export type Purged = Decoded<typeof purgedShape>;

/** `cache`: the only one that is meant, by its name; `null`: all of them. */
export function purge(api: Api, target: Target, mode: Mode, cache: string | null): Promise<Purged> {
  return api.post('changing', 'v1/purge', { ...target, ...of(cache), mode }, purgedShape);
}

function of(cache: string | null): { readonly cache?: string } {
  return cache === null ? {} : { cache };
}

const wouldShape = shape({ would: shape({ entries: count, bytes: count }) });
export type Would = Decoded<typeof wouldShape>['would'];

/** What a purge would touch. Nothing is purged; a server that does not know the question refuses it. */
export async function tryPurge(api: Api, target: Target, mode: Mode, cache: string | null, signal: AbortSignal): Promise<Would> {
  const body = { ...target, ...of(cache), mode, dry_run: true };
  return (await api.post('changing', 'v1/purge', body, wouldShape, signal)).would;
}
