// What has come to routes since a moment at which somebody began to look: whether a mend works is not seen in counts of weeks.
import type { Route } from '../api/routes';
import { hitRatioOf, VERDICTS } from '../api/samples';

/** Times are not known of a part, and what is held is as it is now. A route that was counted anew meanwhile is as it is. */
export function sinceThen(now: readonly Route[], then: readonly Route[]): readonly Route[] {
  const before = new Map(then.map((route) => [route.route, route]));
  return now.map((route) => {
    const known = before.get(route.route);
    const isAnew = known !== undefined && VERDICTS.some((verdict) => route.requests[verdict] < known.requests[verdict]);
    return known === undefined || isAnew ? route : beyond(route, known);
  });
}

function beyond(now: Route, then: Route): Route {
  const less = (of: (route: Route) => number) => Math.max(0, of(now) - of(then));
  const verdict = (name: (typeof VERDICTS)[number]) => less(({ requests }) => requests[name]);
  const requests = {
    hit: verdict('hit'),
    stale: verdict('stale'),
    miss: verdict('miss'),
    collapsed: verdict('collapsed'),
    pass: verdict('pass'),
    refused: verdict('refused'),
  };
  const had = new Map(then.reasons);
  return {
    ...now,
    requests,
    hit_ratio: hitRatioOf(requests),
    reasons: now.reasons.map(([reason, count]) => [reason, Math.max(0, count - (had.get(reason) ?? 0))] as const),
    hit_seconds: null,
    miss_seconds: null,
    reader_errors: less((route) => route.reader_errors),
    origin_calls: less((route) => route.origin_calls),
    origin_failures: less((route) => route.origin_failures),
    origin_seconds: less((route) => route.origin_seconds),
    saved_seconds: less((route) => route.saved_seconds),
    limited: less((route) => route.limited),
  };
}
