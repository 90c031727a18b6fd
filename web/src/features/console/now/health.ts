// Whether all is well, and if not, why: from what is known, to sentences.
import type { Story } from '../api/purges';
import { hitRatioOf, requestsOf } from '../api/samples';
import type { Sample } from '../api/samples';
import type { Stats, Upstream } from '../api/stats';
import type { View } from '../place';
import { bytes, clockTime, percent, plural, span, wholeNumber } from '../../../ui/format';
import { tierWords } from '../words/tiers';
import { sumOf, within } from './window';

/** `bad`: readers notice, or will. `watch`: it costs more than it need. */
export type Gravity = 'bad' | 'watch';

export interface Finding {
  readonly gravity: Gravity;
  readonly title: string;
  readonly says: string;
  /** Where more is told. */
  readonly link?: { readonly name: string; readonly view: View };
}

export interface Known {
  readonly samples: readonly Sample[];
  readonly stats: Stats | null;
  readonly purges: readonly Story[];
  /** Unix time. */
  readonly now: number;
}

/** What is judged: the last minute, beside the ten before it. */
const MINUTE = 60;
const BEFORE = 600;
/** Of fewer requests no share is made much of. */
const ENOUGH = 50;
/** After so many without a failure it is over. */
const QUIET_SECONDS = 10;
/** A purge should be everywhere after so long. */
const PURGE_SECONDS = 15;

/** The gravest first; none: all is well. */
export function findings(known: Known): readonly Finding[] {
  const found = [down(known), origin(known), purges(known), shared(known), refusals(known), memory(known), ratio(known), stale(known)];
  return found
    .filter((finding) => finding !== null)
    .sort((one, other) => Number(one.gravity === 'watch') - Number(other.gravity === 'watch'));
}

/** Services of which no address answers, or not all do. */
function down({ stats }: Known): Finding | null {
  const upstreams = stats?.upstreams ?? [];
  const downOf = ({ addresses }: Upstream) => addresses.filter(({ is_up }) => !is_up);
  const hurt = upstreams.filter((upstream) => downOf(upstream).length > 0);
  const isGone = (upstream: Upstream) => downOf(upstream).length === upstream.addresses.length;
  const worst = hurt.find(isGone) ?? hurt[0];
  if (worst === undefined) return null;
  const gone = hurt.filter(isGone).map(({ name }) => name);
  if (gone.length === 0) {
    return {
      gravity: 'watch',
      title: `${worst.name} is partly down`,
      says: `${downOf(worst).map(({ address }) => address).join(', ')} does not answer as it should; the others are asked.`,
    };
  }
  return {
    gravity: 'bad',
    title: `${gone.join(', ')} ${gone.length === 1 ? 'is' : 'are'} down`,
    says: `${worst.addresses.map(({ address }) => address).join(', ')} does not answer as it should: its own log says why, or Larder’s. What is stored still serves; all else fails.`,
  };
}

function origin({ samples, now }: Known): Finding | null {
  const { origin_calls, origin_failures, reader_errors } = sumOf(within(samples, now, MINUTE));
  if (origin_failures === 0) return null;
  const since = samples.findLast((sample) => sample.second <= now && sample.origin_failures > 0)?.second ?? now;
  const isOver = now - since > QUIET_SECONDS;
  const readers = reader_errors === 0 ? 'No reader got an error by it.' : `${plural(reader_errors, 'reader', 'readers')} got an error.`;
  const share = origin_failures / Math.max(origin_calls, origin_failures);
  return {
    gravity: share >= 0.05 && !isOver ? 'bad' : 'watch',
    title: isOver ? `The origin failed until ${clockTime(new Date(since * 1000))}` : share >= 0.5 ? 'The origin fails' : 'The origin fails now and then',
    says: `${wholeNumber(origin_failures)} of ${plural(Math.max(origin_calls, origin_failures), 'call', 'calls')} in the last minute failed: no answer, or one of 5xx. ${readers}`,
    link: { name: 'Routes says whose', view: 'routes' },
  };
}

function purges({ purges: all, now }: Known): Finding | null {
  const open = all.filter((story) => {
    const states = [story.tiers.memory, story.tiers.shared, ...story.tiers.cdn];
    const isOld = now - Date.parse(story.at) / 1000 > PURGE_SECONDS;
    return states.some((tier) => tier !== null && (tier.state === 'failed' || (isOld && !tierWords(tier).isOver)));
  });
  const first = open[0];
  if (first === undefined) return null;
  return {
    gravity: 'bad',
    title: open.length === 1 ? 'A purge has not reached everything' : `${open.length} purges have not reached everything`,
    says: `The last one: ${first.what.join(', ')}. See Purge for the tier that is behind.`,
  };
}

function shared({ stats }: Known): Finding | null {
  const cut = (stats?.caches ?? []).find(({ lower }) => lower?.is_trusted === false);
  if (cut?.lower === null || cut === undefined) return null;
  return {
    gravity: 'bad',
    title: 'The shared tier is out of reach',
    says: `Nobody knows what other gateways have purged, so what memory holds is not relied upon, and the origin is asked more often. It is behind by ${span(cut.lower.log_behind_seconds)}.`,
  };
}

function refusals({ samples, now }: Known): Finding | null {
  const sum = sumOf(within(samples, now, MINUTE));
  const all = requestsOf(sum);
  if (sum.refused === 0) return null;
  const share = sum.refused / all;
  if (share < 0.01 && sum.refused < ENOUGH) return null;
  return {
    gravity: share >= 0.05 ? 'bad' : 'watch',
    title: 'Requests are refused',
    says: `${plural(sum.refused, 'request', 'requests')} in the last minute, ${percent(share)} of all.`,
    link: { name: 'Routes says which', view: 'routes' },
  };
}

function memory({ samples, now }: Known): Finding | null {
  const last = samples.at(-1);
  if (last === undefined || last.max_bytes === null || last.max_bytes === 0) return null;
  const { evictions } = sumOf(within(samples, now, MINUTE));
  if (evictions === 0 || last.bytes < last.max_bytes * 0.9) return null;
  return {
    gravity: 'watch',
    title: 'The memory is full',
    says: `${plural(evictions, 'entry', 'entries')} had to go in the last minute to stay within ${bytes(last.max_bytes)}. Entries says what fills it.`,
  };
}

function ratio({ samples, now }: Known): Finding | null {
  const last = sumOf(within(samples, now, MINUTE));
  const before = sumOf(within(samples, now - MINUTE, BEFORE));
  const [is, was] = [hitRatioOf(last), hitRatioOf(before)];
  if (is === null || was === null || requestsOf(last) < ENOUGH || requestsOf(before) < ENOUGH) return null;
  if (was - is < 0.2) return null;
  return {
    gravity: 'watch',
    title: 'The hit ratio fell',
    says: `${percent(is)} in the last minute, ${percent(was)} in the ten before.`,
    link: { name: 'Routes says where the misses are', view: 'routes' },
  };
}

function stale({ samples, now }: Known): Finding | null {
  const sum = sumOf(within(samples, now, MINUTE));
  const all = requestsOf(sum);
  if (all < ENOUGH || sum.stale < all * 0.25) return null;
  return {
    gravity: 'watch',
    title: 'Many answers are old',
    says: `${percent(sum.stale / all)} in the last minute were stale copies: the origin is behind, or times to live are short.`,
  };
}
