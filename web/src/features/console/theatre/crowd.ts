// A crowd from what is typed to what came of it in words. Pure.
import { perSecond, plural, span, wholeNumber } from '../../../ui/format';
import { VERDICTS } from '../api/samples';
import type { Crowd, CrowdOffer, CrowdReport } from '../api/stage';

export type WantedCrowd =
  | { readonly kind: 'crowd'; readonly crowd: Crowd }
  | { readonly kind: 'unreadable'; readonly field: 'path' | 'host' | 'requests'; readonly why: string };

/** The same bounds as the server's, told before it is asked. */
export function crowdOf(typed: { readonly path: string; readonly host: string; readonly requests: string }, offer: CrowdOffer): WantedCrowd {
  const [path, host] = [typed.path.trim(), typed.host.trim()];
  if (!path.startsWith('/') || path.startsWith('//')) {
    return { kind: 'unreadable', field: 'path', why: `A path there, with one slash at its beginning: ${offer.path}` };
  }
  if (/[/?#@\s]/.test(host)) return { kind: 'unreadable', field: 'host', why: 'The host alone: shop.example, or shop.example:8080.' };
  const requests = Number(typed.requests.trim());
  if (typed.requests.trim() === '' || !Number.isInteger(requests) || requests < 1 || requests > offer.most) {
    return { kind: 'unreadable', field: 'requests', why: `From 1 to ${wholeNumber(offer.most)}.` };
  }
  return { kind: 'crowd', crowd: { path, host, requests } };
}

/** What came of it, the calls of the origin first: they are the point. */
export function crowdSays({ requests, origin_calls, took_ms, by_verdict, by_status, unanswered }: CrowdReport): string {
  const calls =
    origin_calls === null
      ? 'how often the origin was asked behind old copies is not known'
      : origin_calls === 0
        ? 'no call of the origin'
        : plural(origin_calls, 'call of the origin', 'calls of the origin');
  const kinds = VERDICTS.filter((verdict) => by_verdict[verdict] > 0).map((verdict) => VERDICT_SAYS[verdict](by_verdict[verdict]));
  const sentences = [`${plural(requests, 'request', 'requests')}, ${calls}.`];
  if (kinds.length > 0) sentences.push(`${sentenceOf(kinds)}.`);
  sentences.push(`The last was answered after ${span(took_ms / 1000)}.`);
  const bad = by_status.filter(([status]) => Number(status) >= 400);
  if (bad.length > 0) sentences.push(`Not all went well: ${bad.map(([status, count]) => `${wholeNumber(count)} got ${status}`).join(', ')}.`);
  if (unanswered > 0) sentences.push(`${plural(unanswered, 'request', 'requests')} got no answer.`);
  return sentences.join(' ');
}

const VERDICT_SAYS: Readonly<Record<(typeof VERDICTS)[number], (count: number) => string>> = {
  hit: (count) => `${wholeNumber(count)} had it from the cache`,
  stale: (count) => `${wholeNumber(count)} got an old copy`,
  collapsed: (count) => `${wholeNumber(count)} waited for another’s answer`,
  miss: (count) => `${wholeNumber(count)} asked the origin`,
  pass: (count) => `${wholeNumber(count)} went past the cache`,
  refused: (count) => `${wholeNumber(count)} were refused`,
};

function sentenceOf(parts: readonly string[]): string {
  const last = parts.at(-1) ?? '';
  return parts.length < 2 ? last : `${parts.slice(0, -1).join(', ')} and ${last}`;
}

/** Among the choices what it is now, and what is usual, always are. */
export function delaysOf({ ms, usual_ms, most_ms }: { readonly ms: number; readonly usual_ms: number; readonly most_ms: number }): readonly number[] {
  const wanted = [0, 4000, 8000].filter((delay) => delay <= most_ms);
  return [...new Set([...wanted, usual_ms, ms])].toSorted((one, other) => one - other);
}

/** `at once`, `20 ms`, `2 s`. */
export function delayWords(ms: number): string {
  if (ms === 0) return 'at once';
  return ms < 1000 ? `${ms}\u00a0ms` : `${perSecond(ms / 1000).replace(/\.0$/, '')}\u00a0s`;
}
