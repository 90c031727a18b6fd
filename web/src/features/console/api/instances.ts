// The gateways that share what they have: `/v1/instances`.
import { amount, count, flag, list, optional, orElse, shape, text } from '../../../wire/decode';
import type { Decoded } from '../../../wire/decode';
import type { Api } from './api';

const instanceShape = shape({
  name: text,
  is_self: orElse(flag, false),
  alive: orElse(flag, true),
  /** How far it has read the log of purges, where that is told. */
  cursor: optional(count),
  behind: orElse(count, 0),
  entries: optional(count),
  bytes: optional(count),
  seen_seconds_ago: orElse(amount, 0),
});
export type Instance = Decoded<typeof instanceShape>;

const instancesShape = shape({ instances: list(instanceShape) });

/** None where nothing is shared. */
export async function fetchInstances(api: Api, signal: AbortSignal): Promise<readonly Instance[]> {
  return (await api.get('v1/instances', [], instancesShape, signal)).instances;
}
