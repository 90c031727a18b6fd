// What the cache says it did for one answer: Cache-Status (RFC 9211) and Age, read into a union.
import { parseList } from './structuredField';
import type { BareItem } from './structuredField';

export type Verdict =
  | { readonly kind: 'hit'; readonly ageSeconds: number | null; readonly ttlSeconds: number | null }
  /** A hit in what several backends share. */
  | { readonly kind: 'shared'; readonly ageSeconds: number | null; readonly ttlSeconds: number | null }
  | {
      readonly kind: 'stale';
      readonly ageSeconds: number | null;
      readonly expiredForSeconds: number | null;
      /** `stale-while-revalidate`, `stale-if-error`, or nothing said. */
      readonly reason: string | null;
    }
  | {
      readonly kind: 'miss';
      readonly reason: string;
      /** It waited for a fetch that another reader had begun. */
      readonly collapsed: boolean;
      readonly ttlSeconds: number | null;
    }
  | { readonly kind: 'bypass' }
  /** No Cache-Status of Larder's could be read. */
  | { readonly kind: 'unsaid' };

export const UNSAID: Verdict = { kind: 'unsaid' };

export function readVerdict(cacheStatus: string | null, age: string | null): Verdict {
  const said = larderSaid(cacheStatus ?? '');
  if (said === null) return UNSAID;

  const ageSeconds = age !== null && /^\d{1,10}$/.test(age.trim()) ? Number(age) : null;
  const ttlSeconds = numberOr(said.get('ttl'), null);
  const detail = textOr(said.get('detail'), null);

  // What stands in for the error of an origin that was asked is no hit (RFC 9211 §2.1), but stale all the same.
  if (said.get('hit') === true || detail === 'stale-if-error') {
    const expired = ttlSeconds === null ? detail?.startsWith('stale') === true : ttlSeconds < 0;
    return expired
      ? {
          kind: 'stale',
          ageSeconds,
          expiredForSeconds: ttlSeconds === null ? null : -ttlSeconds,
          reason: detail,
        }
      : { kind: detail === 'shared' ? 'shared' : 'hit', ageSeconds, ttlSeconds };
  }

  const forwarded = textOr(said.get('fwd'), null);
  if (forwarded === null) return UNSAID;
  if (forwarded === 'bypass') return { kind: 'bypass' };
  return {
    kind: 'miss',
    // `fwd` has RFC 9211's few words; `detail` has our own, and is the more exact of the two.
    reason: detail ?? forwarded,
    collapsed: said.get('collapsed') === true,
    ttlSeconds,
  };
}

/**
 * Every cache on the way appends its member, so the last is nearest to us (RFC 9211 §2). We want Larder's,
 * and if there were two of them, the one that answered this page.
 */
function larderSaid(field: string): ReadonlyMap<string, BareItem> | null {
  const member = parseList(field)?.findLast(({ value }) => value === 'Larder');
  return member?.params ?? null;
}

function numberOr<T>(item: BareItem | undefined, otherwise: T): number | T {
  return typeof item === 'number' ? item : otherwise;
}

function textOr<T>(item: BareItem | undefined, otherwise: T): string | T {
  return typeof item === 'string' ? item : otherwise;
}
