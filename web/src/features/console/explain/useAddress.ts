// Where readers reach the gateway: as its stage offers it. What is stored shows which URLs there are.
import { useQuery } from '@tanstack/react-query';
import { useApi } from '../api/ApiContext';
import { fetchMostRead } from '../api/entries';
import { fetchStage } from '../api/stage';
import type { Address } from './curl';

export interface Known {
  readonly address: Address;
  /** Some URLs that are stored. */
  readonly stored: readonly string[];
}

const MOST_STORED = 3;

/** `isWanted`: what is known already stays. */
export function useAddress(isWanted: boolean): Known {
  const api = useApi();
  const stage = useQuery({ queryKey: ['stage'], enabled: isWanted, queryFn: ({ signal }) => fetchStage(api, signal) });
  const read = useQuery({ queryKey: ['entries', 'most-read'], enabled: isWanted, queryFn: ({ signal }) => fetchMostRead(api, MOST_STORED, signal) });
  const stored = (read.data ?? []).map(({ key }) => key).filter((key) => /^https?:\/\//i.test(key));
  const own = stage.data?.crowd?.at ?? null;
  const first = stored[0];
  const origin = first === undefined ? null : (URL.parse(first)?.origin ?? null);
  return { address: { own, example: own ?? origin ?? 'http://www.example.org' }, stored };
}
