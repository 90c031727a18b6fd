// One question to a server, timed from the call until the body is read, and every way it can end.
import { readVerdict, UNSAID } from './cacheStatus';
import type { Verdict } from './cacheStatus';
import { isRecord, Undecodable } from './decode';
import type { Decoder } from './decode';
import { readServerTiming } from './serverTiming';

/** How long it took, and what the servers say about it. */
export interface Measure {
  readonly ms: number;
  readonly verdict: Verdict;
  readonly serverTiming: ReadonlyMap<string, number>;
}

export interface Answer<T> {
  readonly value: T;
  readonly measure: Measure;
}

/** Why there is no usable answer. */
export type Trouble =
  | { readonly kind: 'unreachable' }
  | { readonly kind: 'refused'; readonly status: number; readonly said: string }
  | { readonly kind: 'garbled'; readonly why: string };

/** Thrown instead of an answer. It was measured all the same: a failure takes time too. */
export class AskFailed extends Error {
  override readonly name = 'AskFailed';
  readonly trouble: Trouble;
  readonly measure: Measure;

  constructor(trouble: Trouble, measure: Measure) {
    super(`${trouble.kind} after ${Math.round(measure.ms)} ms`);
    this.trouble = trouble;
    this.measure = measure;
  }
}

/**
 * @throws AskFailed for everything a server or the way to it can do wrong
 * @throws DOMException `AbortError` when `init.signal` was aborted: nobody waits for the answer any more
 */
export async function ask<T>(url: string, decode: Decoder<T>, init: RequestInit = {}): Promise<Answer<T>> {
  const began = performance.now();
  let status: number;
  let headers: Headers;
  let body: string;
  try {
    // `no-store`: the browser's own cache must take no part, we measure Larder's.
    const response = await fetch(url, { cache: 'no-store', ...init });
    ({ status, headers } = response);
    body = await response.text();
  } catch (error) {
    if (init.signal?.aborted === true) throw error;
    const ms = performance.now() - began;
    throw new AskFailed({ kind: 'unreachable' }, { ms, verdict: UNSAID, serverTiming: new Map() });
  }

  const measure: Measure = {
    ms: performance.now() - began,
    verdict: readVerdict(headers.get('cache-status'), headers.get('age')),
    serverTiming: readServerTiming(headers.get('server-timing')),
  };
  if (status < 200 || status > 299) {
    throw new AskFailed({ kind: 'refused', status, said: whatWasSaid(body) }, measure);
  }
  try {
    return { value: decode(parseJson(body), ''), measure };
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error;
    throw new AskFailed({ kind: 'garbled', why: error.message }, measure);
  }
}

/** JSON to be sent. */
export function json(value: unknown, method: 'POST' | 'PATCH' = 'POST'): RequestInit {
  return { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(value) };
}

function parseJson(body: string): unknown {
  try {
    const value: unknown = JSON.parse(body);
    return value;
  } catch {
    throw new Undecodable('', 'JSON');
  }
}

/**
 * The server's own words for an error: `detail` of the backend (a text, or a list of findings) or of a
 * problem document (RFC 9457), whose `title` steps in when it has no detail.
 */
export function whatWasSaid(body: string): string {
  let error: unknown;
  try {
    error = parseJson(body);
  } catch {
    // A proxy's error page is of no use to a reader; its status will have to do.
    return '';
  }
  if (!isRecord(error)) return '';
  const { detail, title } = error;
  if (typeof detail === 'string') return detail;
  if (Array.isArray(detail)) {
    const findings = detail.map((finding: unknown) => (isRecord(finding) ? finding['msg'] : null));
    return findings.filter((finding) => typeof finding === 'string').join('. ');
  }
  return typeof title === 'string' ? title : '';
}
