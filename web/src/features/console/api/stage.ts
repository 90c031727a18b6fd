// What the server offers to whoever watches: `/v1/stage`, and what is asked of it there.
import { amount, count, entriesOf, flag, list, optional, orElse, shape, text } from '../../../wire/decode';
import type { Decoded, Decoder } from '../../../wire/decode';
import type { Api } from './api';

const crowdOfferShape = shape({
  /** Scheme and host that its requests are for. */
  at: text,
  path: text,
  takes_host: orElse(flag, false),
  usual: count,
  most: count,
});
export type CrowdOffer = Decoded<typeof crowdOfferShape>;

const sharedShape = shape({ place: text, on: flag });
/** The tier that can be cut off; `on`: it is. */
export type SharedAct = Decoded<typeof sharedShape>;

const originShape = shape({ ms: count, usual_ms: count, most_ms: count, says: orElse(text, '') });
export type OriginAct = Decoded<typeof originShape>;

export interface StageActs {
  readonly crowd: CrowdOffer | null;
  readonly shared: SharedAct | null;
  readonly origin: OriginAct | null;
}

const nameShape = shape({ name: text });

/** Each act of this name, and none of a name that is not known here: a newer server may have more. */
const actsShape: Decoder<StageActs> = (value, path) => {
  const { acts } = shape({ acts: list((act, place) => ({ act, place, name: nameShape(act, place).name })) })(value, path);
  const find = <T>(wanted: string, decode: Decoder<T>): T | null => {
    const found = acts.find(({ name }) => name === wanted);
    return found === undefined ? null : decode(found.act, found.place);
  };
  return {
    crowd: find('crowd', crowdOfferShape),
    shared: find('break_shared', sharedShape),
    origin: find('slow_origin', originShape),
  };
};

export function fetchStage(api: Api, signal: AbortSignal): Promise<StageActs> {
  return api.get('v1/stage', [], actsShape, signal);
}

const crowdReportShape = shape({
  requests: count,
  /** Not known where stale answers may have been asked for anew behind them. */
  origin_calls: optional(count),
  took_ms: amount,
  by_verdict: shape({ hit: count, stale: count, miss: count, collapsed: count, pass: count, refused: count }),
  by_status: orElse(entriesOf(count), []),
  unanswered: orElse(count, 0),
});
export type CrowdReport = Decoded<typeof crowdReportShape>;

export interface Crowd {
  readonly path: string;
  /** Empty: the one that is offered. */
  readonly host: string;
  readonly requests: number;
}

/** Whoever aborts it ends the crowd. */
export function sendCrowd(api: Api, { path, host, requests }: Crowd, signal: AbortSignal): Promise<CrowdReport> {
  const body = { path, requests, ...(host === '' ? {} : { host }) };
  return api.post('changing', 'v1/stage/crowd', body, crowdReportShape, signal);
}

export function cutOff(api: Api, on: boolean): Promise<SharedAct> {
  return api.post('changing', 'v1/stage/break_shared', { on }, sharedShape);
}

export function slowOrigin(api: Api, ms: number): Promise<OriginAct> {
  return api.post('changing', 'v1/stage/slow_origin', { ms }, originShape);
}
