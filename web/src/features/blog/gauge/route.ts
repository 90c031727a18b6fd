// How far a load went: to Larder only, to what backends share, or all the way to the posts service. Drawn by RouteMap.
import type { Measure } from '../../../wire/ask';
import type { Verdict } from '../../../wire/cacheStatus';
import type { BrokeAt, PostView } from '../post/postView';
import { unknownSentence, verdictSentence } from '../verdict/verdictWords';

/** One leg of the way: not gone, being gone, gone, gone later behind the reader's back, or it broke there. */
export type Leg = 'quiet' | 'moving' | 'gone' | 'later' | 'broken';

export interface Route {
  readonly toLarder: Leg;
  /** From Larder's memory to what it shares with others. None: it shares nothing. */
  readonly toShared: Leg | null;
  /** From the last of these. */
  readonly toOrigin: Leg;
  /** The request went by the cache without stopping. */
  readonly pastLarder: boolean;
  readonly originMs: number | null;
  readonly sentence: string;
}

/**
 * `postsServiceFails`: it did when it was last asked, so nothing new is on its way. `isShared`: there is something that
 * several backends share.
 */
export function routeOf(view: PostView, postsServiceFails = false, isShared = false): Route {
  const route = wayOf(view, postsServiceFails);
  return isShared ? { ...route, toShared: toShared(view, route) } : route;
}

/** Whoever gets as far as the posts service has looked there before. */
function toShared(view: PostView, { toOrigin }: Route): Leg {
  const verdict = view.kind === 'live' || view.kind === 'failed' ? view.measure?.verdict : undefined;
  if (verdict?.kind === 'shared') return 'gone';
  return toOrigin === 'broken' ? 'gone' : toOrigin;
}

function wayOf(view: PostView, postsServiceFails: boolean): Route {
  switch (view.kind) {
    case 'none':
      return { ...UNTRAVELLED, sentence: 'Choose a post, and see how far it has to come.' };
    case 'loading':
      return { ...UNTRAVELLED, toLarder: 'moving', toOrigin: 'moving', sentence: 'Asking…' };
    case 'live':
      return travelled(view.measure, postsServiceFails);
    case 'failed':
      return {
        ...failedRoute(view.brokeAt, view.measure),
        sentence: [`${view.problem.title}.`, view.brokeAt === 'nowhere' ? unknownSentence(view.measure?.verdict) : '']
          .join(' ')
          .trim(),
      };
  }
}

const UNTRAVELLED: Route = {
  toLarder: 'quiet',
  toShared: null,
  toOrigin: 'quiet',
  pastLarder: false,
  originMs: null,
  sentence: '',
};

function failedRoute(brokeAt: BrokeAt, measure: Measure | null): Route {
  if (measure === null || brokeAt === 'this-page') return UNTRAVELLED;
  if (brokeAt === 'backend') return { ...UNTRAVELLED, toLarder: 'broken' };
  const route = travelled(measure, false);
  return brokeAt === 'posts-service' ? { ...route, toOrigin: 'broken', originMs: null } : route;
}

function travelled({ verdict, serverTiming }: Measure, postsServiceFails: boolean): Route {
  return {
    toLarder: 'gone',
    toShared: null,
    toOrigin: toOrigin(verdict, postsServiceFails),
    pastLarder: verdict.kind === 'bypass',
    originMs: serverTiming.get('origin') ?? null,
    sentence: verdictSentence(verdict, postsServiceFails),
  };
}

function toOrigin(verdict: Verdict, postsServiceFails: boolean): Leg {
  switch (verdict.kind) {
    case 'hit':
    case 'shared':
      return 'quiet';
    case 'stale':
      // A stale copy either comes before the posts service is asked, or stands in for it.
      return postsServiceFails || verdict.reason === 'stale-if-error' ? 'broken' : 'later';
    case 'miss':
    case 'bypass':
    case 'unsaid':
      return 'gone';
  }
}
