// What is known of the present: the connection, an hour of seconds, the last purges, the counters.
import { Undecodable } from '../../../wire/decode';
import type { Decoder } from '../../../wire/decode';
import type { Story } from '../api/purges';
import { storyShape } from '../api/purges';
import { sampleShape } from '../api/samples';
import type { Sample } from '../api/samples';
import { statsShape } from '../api/stats';
import type { Stats } from '../api/stats';
import type { ServerEvent } from './serverEvents';

export type Link =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'live' }
  /** The page is hidden, and listens to nothing until it is shown. */
  | { readonly kind: 'hidden' }
  /** It is tried again; until then everything shown is old. */
  | { readonly kind: 'lost'; readonly why: string };

/** What is known of the seconds before the page was opened. */
export type Past = 'asked' | 'told' | 'untold';

export interface Live {
  readonly link: Link;
  /** In order, no second twice, an hour at most. */
  readonly samples: readonly Sample[];
  readonly past: Past;
  /** By name, those that changed last first. */
  readonly purges: readonly Story[];
  readonly stats: Stats | null;
  /** So many times the server was heard again after it was lost, or was found to have been started anew. */
  readonly returns: number;
  /** So many events came that made no sense. */
  readonly unread: number;
}

export type Happening =
  | { readonly kind: 'connecting' }
  | { readonly kind: 'lost'; readonly why: string }
  | { readonly kind: 'hidden' }
  | { readonly kind: 'past'; readonly samples: readonly Sample[] | 'untold' }
  /** All that are remembered; `known`: those that were known when it was asked. */
  | { readonly kind: 'purges'; readonly purges: readonly Story[]; readonly known: readonly Story[] }
  | { readonly kind: 'event'; readonly event: ServerEvent };

export const NOTHING_YET: Live = {
  link: { kind: 'connecting' },
  samples: [],
  past: 'asked',
  purges: [],
  stats: null,
  returns: 0,
  unread: 0,
};

/** An hour, as the server keeps it. */
const MOST_SAMPLES = 3600;
const MOST_PURGES = 50;

export function nextLive(live: Live, happening: Happening): Live {
  switch (happening.kind) {
    case 'connecting':
      // Whoever has something to show goes on showing it as old.
      return live.link.kind === 'lost' ? live : { ...live, link: { kind: 'connecting' } };
    case 'lost':
      return { ...live, link: { kind: 'lost', why: happening.why } };
    case 'hidden':
      // What was lost is lost until it is heard again: then all is asked anew.
      return live.link.kind === 'lost' ? live : { ...live, link: { kind: 'hidden' } };
    case 'past':
      if (happening.samples === 'untold') return { ...live, past: 'untold' };
      return { ...live, past: 'told', samples: merged(live.samples, happening.samples) };
    case 'purges': {
      // What was heard meanwhile is newer than the answer; what the server forgot, as one that was restarted does, goes.
      const heardSince = live.purges.filter((story) => !happening.known.includes(story));
      return { ...live, purges: heardSince.toReversed().reduce(withPurge, happening.purges).slice(0, MOST_PURGES) };
    }
    case 'event':
      return heard({ ...live, link: { kind: 'live' }, returns: live.returns + (live.link.kind === 'lost' ? 1 : 0) }, happening.event);
  }
}

function heard(live: Live, { event, data }: ServerEvent): Live {
  switch (event) {
    case 'second': {
      const sample = read(sampleShape, data);
      return sample === null ? unread(live) : { ...live, samples: merged(live.samples, [sample]) };
    }
    case 'stats': {
      const stats = read(statsShape, data);
      if (stats === null) return unread(live);
      const isAnew = stats.uptime_seconds < (live.stats?.uptime_seconds ?? 0);
      return { ...live, stats, returns: live.returns + (isAnew ? 1 : 0) };
    }
    case 'purge': {
      const story = read(storyShape, data);
      return story === null ? unread(live) : { ...live, purges: withPurge(live.purges, story) };
    }
    default:
      return live;
  }
}

function unread(live: Live): Live {
  return { ...live, unread: live.unread + 1 };
}

/** A second that is told again is told better. */
function merged(known: readonly Sample[], told: readonly Sample[]): readonly Sample[] {
  const last = known.at(-1)?.second ?? -1;
  const isInOrder = told.every(({ second }, at) => second > (told[at - 1]?.second ?? last));
  if (isInOrder) return [...known, ...told].slice(-MOST_SAMPLES);
  const bySecond = new Map([...known, ...told].map((sample) => [sample.second, sample]));
  return [...bySecond.values()].sort((one, other) => one.second - other.second).slice(-MOST_SAMPLES);
}

function withPurge(known: readonly Story[], told: Story): readonly Story[] {
  return [told, ...known.filter(({ id }) => id !== told.id)].slice(0, MOST_PURGES);
}

export function read<T>(decode: Decoder<T>, data: string): T | null {
  try {
    return decode(JSON.parse(data), '');
  } catch (error) {
    if (error instanceof Undecodable || error instanceof SyntaxError) return null;
    throw error;
  }
}
