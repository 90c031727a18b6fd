// Single requests on the stage: who goes on next, and where. Pure: no clock.
import type { PastRequest } from '../api/explain';
import { verdictOf } from '../words/verdicts';
import { endOf } from './troupe';
import type { Traveller, Way } from './troupe';

/** So many have a lane of their own at once. */
export const MOST_ALONE = 10;
/** Whoever would wait behind more than these is not drawn. */
const MOST_WAITING = 20;
/** Whoever waited for longer is seen waiting for so long, before it is slowed down. */
const LONGEST_WAIT_MS = 3000;
/** Those that go on together go on one after the other. */
const APART_MS = 120;
const LABEL_CHARACTERS = 28;

export interface Entered {
  /** Those that are on the stage now, the ones that went before among them. */
  readonly troupe: readonly Traveller[];
  /** Those that have just gone on. */
  readonly entered: readonly PastRequest[];
  /** Those for whom there was no lane yet. */
  readonly waiting: readonly PastRequest[];
}

/** The newest wait, and the others go by. */
export function joinedBy(waiting: readonly PastRequest[], come: readonly PastRequest[]): readonly PastRequest[] {
  return [...waiting, ...come].slice(-MOST_WAITING);
}

/** Has those go on for whom there is a lane; first what is seldom there. */
export function enter(before: readonly Traveller[], waiting: readonly PastRequest[], now: number, hasShared: boolean): Entered {
  const there = before.filter((traveller) => endOf(traveller, hasShared) > now);
  const taken = new Set(there.filter(({ alone }) => alone !== undefined).map(({ lane }) => lane));
  const free = LANES.filter((lane) => !taken.has(lane));
  const count = new Map<Way, number>();
  for (const { way } of there) count.set(way, (count.get(way) ?? 0) + 1);
  const left = [...waiting];
  const entered: PastRequest[] = [];
  const coming: Traveller[] = [];
  for (const [at, lane] of free.entries()) {
    const next = left.toSorted((one, other) => (count.get(wayOf(one)) ?? 0) - (count.get(wayOf(other)) ?? 0))[0];
    if (next === undefined) break;
    left.splice(left.indexOf(next), 1);
    count.set(wayOf(next), (count.get(wayOf(next)) ?? 0) + 1);
    entered.push(next);
    coming.push(soloist(next, now + at * APART_MS, lane));
  }
  return { troupe: [...there, ...coming], entered, waiting: left };
}

function soloist(request: PastRequest, leaves: number, lane: number): Traveller {
  const way = wayOf(request);
  const waited = way === 'collapsed' ? request.seconds : (request.origin_seconds ?? 0);
  return { id: request.id, way, leaves, lane, alone: { label: labelOf(request), waitMs: Math.min(LONGEST_WAIT_MS, waited * 1000) } };
}

export function wayOf({ verdict, tier }: PastRequest): Way {
  if (verdict === 'hit' && tier === 'shared') return 'shared';
  return verdictOf(verdict) ?? 'pass';
}

/** Its path: the host is mostly the same for all. */
export function pathOf(url: string): string {
  return url.replace(/^[a-z]+:\/\/[^/]*/i, '') || '/';
}

function labelOf({ method, url }: PastRequest): string {
  const text = method === 'GET' ? pathOf(url) : `${method} ${pathOf(url)}`;
  return text.length <= LABEL_CHARACTERS ? text : `${text.slice(0, LABEL_CHARACTERS - 1)}…`;
}

/** Neighbours in time are far apart: every third lane, round and round. */
const LANES = Array.from({ length: MOST_ALONE }, (_, at) => ((at * 3) % MOST_ALONE) / MOST_ALONE);
