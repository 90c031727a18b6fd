// Which travellers stand for the requests of a second, where each is at a moment, and by which way it goes. Pure: no clock.
import { requestsOf, VERDICTS } from '../api/samples';
import type { Sample, Verdict } from '../api/samples';

/** Places from the reader to the origin, as shares of the stage's width. */
export type Stop = 'reader' | 'memory' | 'shared' | 'origin';

/** By which way something goes: as its verdict says, or from the shared tier, or behind a reader's back, or outwards as a purge. */
export type Way = Verdict | 'shared' | 'refresh' | 'purge';

export interface Traveller {
  readonly id: string;
  readonly way: Way;
  /** When it leaves, in milliseconds of the stage's time. */
  readonly leaves: number;
  /** Across the stage, from 0 (top) to 1. */
  readonly lane: number;
  /** It is one request, and stands for no others. */
  readonly alone?: Alone;
}

export interface Alone {
  /** What it asks for, as far as there is room for that. */
  readonly label: string;
  /** How long it waits: at the origin, or for another’s answer. */
  readonly waitMs: number;
}

/** So many are on the stage for one second at most: each then stands for several requests. */
const MOST_A_SECOND = 24;
const SECOND_MS = 1000;

/** How many requests one traveller stands for. */
export function worthOf(sample: Sample): number {
  return Math.max(1, Math.ceil(requestsOf(sample) / MOST_A_SECOND));
}

/**
 * Spread over the second, in its proportions: of what was there at least one is seen.
 *
 * @param starts when the second begins on the stage
 */
export function travellersOf(sample: Sample, starts: number): readonly Traveller[] {
  const worth = worthOf(sample);
  const signs = waysOf(sample).flatMap(({ way, count }) => {
    // However much is purged in a second, one wave of it is seen.
    const shown = count === 0 ? 0 : way === 'purge' ? 1 : Math.max(1, Math.round(count / worth));
    return Array.from({ length: shown }, (_, at) => ({ way, at, share: (at + 0.5) / shown }));
  });
  return signs
    .toSorted((one, other) => one.share - other.share)
    .map(({ way, at, share }, place) => ({
      id: `${sample.second}-${way}-${at}`,
      way,
      leaves: starts + share * SECOND_MS,
      // The golden ratio puts neighbours far apart.
      lane: (place * 0.618_034) % 1,
    }));
}

/** What went which way. Each request is in it once; refreshes and purges are beside them. */
function waysOf(sample: Sample): readonly { readonly way: Way; readonly count: number }[] {
  const shared = Math.min(sample.shared_hits, sample.hit);
  const requests = VERDICTS.map((verdict) => ({ way: verdict, count: verdict === 'hit' ? sample.hit - shared : sample[verdict] }));
  return [...requests, { way: 'shared', count: shared }, { way: 'refresh', count: sample.refreshes }, { way: 'purge', count: sample.purges }];
}

/** Of a second that was not shown and the one after it the busier: what is rare is not to be missed. */
export function busierOf(missed: Sample | null, next: Sample): Sample {
  return missed !== null && requestsOf(missed) > requestsOf(next) ? missed : next;
}

/** From stop to stop, and back; how long each leg takes relative to the others. */
const ITINERARIES: Readonly<Record<Way, readonly Stop[]>> = {
  hit: ['reader', 'memory', 'reader'],
  stale: ['reader', 'memory', 'reader'],
  collapsed: ['reader', 'memory', 'memory', 'memory', 'reader'],
  miss: ['reader', 'memory', 'shared', 'origin', 'memory', 'reader'],
  pass: ['reader', 'origin', 'reader'],
  refused: ['reader', 'memory'],
  shared: ['reader', 'memory', 'shared', 'memory', 'reader'],
  refresh: ['memory', 'shared', 'origin', 'memory'],
  purge: ['memory', 'shared', 'origin'],
};

export const PLACES: Readonly<Record<Stop, number>> = { reader: 0.06, memory: 0.36, shared: 0.64, origin: 0.94 };

/** What the way from one stop to the next takes, before it is slowed down. */
const LEG_MS = 700;

export interface Seen {
  readonly x: number;
  /** On the way back, with something. */
  readonly isLoaded: boolean;
  /** From 0 to 1; a refused one fades where it was refused. */
  readonly opacity: number;
}

/** `null`: it has not left, or is back. */
export function seenAt(traveller: Traveller, now: number, hasShared: boolean): Seen | null {
  let passed = now - traveller.leaves;
  if (passed < 0) return null;
  const legs = legsOf(traveller, hasShared);
  for (const { from, to, ms } of legs) {
    if (passed < ms) {
      const [start, end] = [PLACES[from], PLACES[to]];
      return { x: start + (end - start) * eased(passed / ms), isLoaded: end < start, opacity: 1 };
    }
    passed -= ms;
  }
  const last = legs.at(-1);
  const fades = traveller.way === 'refused' || traveller.way === 'purge';
  return fades && last !== undefined && passed < LEG_MS ? { x: PLACES[last.to], isLoaded: false, opacity: 1 - passed / LEG_MS } : null;
}

/** When it is off the stage. */
export function endOf(traveller: Traveller, hasShared: boolean): number {
  return legsOf(traveller, hasShared).reduce((sum, { ms }) => sum + ms, traveller.leaves + LEG_MS);
}

interface Leg {
  readonly from: Stop;
  readonly to: Stop;
  readonly ms: number;
}

/** Of a single one it is known for how long it waited, and so it does. */
function legsOf({ way, alone }: Traveller, hasShared: boolean): readonly Leg[] {
  const stops = ITINERARIES[way].filter((stop) => hasShared || stop !== 'shared');
  const legs = stops.slice(1).map((to, at) => ({ from: stops[at] ?? to, to, ms: LEG_MS }));
  if (alone === undefined) return legs;
  const waitsAt = way === 'collapsed' ? 'memory' : 'origin';
  const moves = legs.filter(({ from, to }) => from !== to);
  const arrives = moves.findIndex(({ to }) => to === waitsAt);
  if (arrives === -1 || alone.waitMs === 0) return moves;
  return moves.toSpliced(arrives + 1, 0, { from: waitsAt, to: waitsAt, ms: alone.waitMs });
}

function eased(share: number): number {
  return share * share * (3 - 2 * share);
}
