// The stage's acts: those that the server offers, and a purge, which every server takes.
import { useQuery } from '@tanstack/react-query';
import { again } from '../api/again';
import { useApi } from '../api/ApiContext';
import { fetchStage } from '../api/stage';
import { isNotTold, problemOf } from '../api/trouble';
import { CrowdAct } from './CrowdAct';
import { OriginAct } from './OriginAct';
import { PurgeAct } from './PurgeAct';
import { SharedAct } from './SharedAct';
import './Acts.css';

/** Somebody else may have broken or mended something meanwhile. */
const EVERY_MS = 5000;

export function Acts() {
  const api = useApi();
  const { data, error } = useQuery({
    queryKey: ['stage'],
    queryFn: ({ signal }) => fetchStage(api, signal),
    refetchInterval: again(EVERY_MS),
  });
  const acts = data ?? { crowd: null, shared: null, origin: null };
  const offersNone = data !== undefined && acts.crowd === null && acts.shared === null && acts.origin === null;
  return (
    <div className="acts">
      {acts.crowd === null ? null : <CrowdAct offer={acts.crowd} />}
      <PurgeAct />
      {acts.shared === null ? null : <SharedAct shared={acts.shared} />}
      {acts.origin === null ? null : <OriginAct origin={acts.origin} />}
      {offersNone || isNotTold(error) ? (
        <p className="soft acts-none">
          This server sends no crowds. A gateway does where its file says <code>stage = true</code> under <code>[admin]</code>: only where
          nobody depends on it, because a crowd is real traffic.
        </p>
      ) : error === null ? null : (
        <p className="soft acts-none" role="status">
          What else can be done here is not known: {problemOf(error, 'its acts').title.toLowerCase()}.
        </p>
      )}
    </div>
  );
}
