// Why a request is answered as it is: `/v1/explain`.
import { amount, count, flag, instant, list, optional, orElse, pair, shape, signed, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import type { Api } from './api';

const ruleShape = shape({ rule: text, value: text, line: optional(text) });

const routeShape = shape({
  route: text,
  line: optional(text),
  upstream: optional(text),
  is_cached: orElse(flag, true),
  rules: orElse(list(ruleShape), []),
});

const keyShape = shape({
  key: text,
  parts: orElse(list(shape({ part: text, name: optional(text), value: optional(text), from: optional(text) })), []),
  left_out: orElse(list(shape({ part: text, name: optional(text), why: orElse(text, '') })), []),
});

const variantShape = shape({
  /** Fields, and what the request for it had there, if it had them. */
  differs_by: orElse(list(pair(text, optional(text))), []),
  status: optional(count),
  age_seconds: optional(amount),
  fresh_for_seconds: optional(signed),
  state: optional(text),
  is_chosen: orElse(flag, false),
});

const tierShape = shape({
  tier: text,
  holds: optional(text),
  says: orElse(text, ''),
  variants: orElse(list(variantShape), []),
});

const differenceShape = shape({ part: text, name: optional(text), asked: optional(text), stored: optional(text) });

/** What one set of rules makes of a request. */
const toldFields = {
  route: optional(routeShape),
  key: optional(keyShape),
  tiers: orElse(list(tierShape), []),
  flight: optional(shape({ says: text })),
  verdict: shape({ verdict: text, reason: text, says: orElse(text, '') }),
  /** Cookies that make it look like one person's. Names alone. */
  personal: optional(shape({ cookies: list(text), says: text, remedy: optional(text) })),
  next: optional(shape({ asks_origin: orElse(flag, false), says: text })),
  nearest: orElse(list(shape({ key: text, differs: orElse(list(differenceShape), []), says: text })), []),
  gone: optional(shape({ cause: orElse(text, ''), says: text })),
};
const toldShape = shape(toldFields);
export type Told = Decoded<typeof toldShape>;

/** A request that was answered. */
export const pastShape = shape({
  id: text,
  at: optional(instant),
  method: text,
  url: text,
  route: text,
  verdict: text,
  reason: text,
  says: orElse(text, ''),
  status: count,
  seconds: amount,
  origin_seconds: optional(amount),
  tier: text,
  /** Where it was traced. */
  trace_id: optional(text),
});
export type PastRequest = Decoded<typeof pastShape>;

/** What became of the request whose answer had this id in `Larder-Request`. */
export function fetchPast(api: Api, id: string, signal: AbortSignal): Promise<PastRequest> {
  return api.get(`v1/requests/${encodeURIComponent(id)}`, [], pastShape, signal);
}

export const explanationShape = shape({
  ...toldFields,
  request: optional(shape({ method: text, url: text })),
  /** What became of the last such request, as far as that is remembered. */
  last: optional(pastShape),
  /** By the other rules that were asked about, if any were. */
  with_policy: optional(toldShape),
});
export type Explanation = Decoded<typeof explanationShape>;

/** A request that nobody makes. */
export interface Request {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly (readonly [string, string])[];
}

/** `policy`: the text of another `larder.toml`, whose outcome is told beside. */
export function explain(
  api: Api,
  { method, url, headers }: Request,
  policy: string | null,
  signal: AbortSignal,
): Promise<Explanation> {
  // A field that has no name yet is still being typed.
  const named = headers.filter(([name]) => name.trim() !== '');
  const question = { method, url, headers: named, ...(policy === null ? {} : { policy }) };
  return api.post('reading', 'v1/explain', question, explanationShape, signal);
}
