// The experiment: a hundred users ask for one cold post at the same moment.
import { ActionButton } from '../../../ui/ActionButton';
import { RunningClock } from '../../../ui/RunningClock';
import { CROWD_SIZE } from './crowdView';
import type { CrowdView } from './crowdView';
import { CrowdReport } from './CrowdReport';
import '../../../ui/Instrument.css';
import './Crowd.css';

interface Props {
  readonly view: CrowdView;
  readonly postId: number | null;
  readonly cacheEnabled: boolean;
  readonly onSend: (postId: number) => void;
}

export function Crowd({ view, postId, cacheEnabled, onSend }: Props) {
  const resting = view.kind === 'running' || postId === null;
  return (
    <section id="crowd" className="instrument crowd" aria-labelledby="crowd-title">
      <header className="instrument-head">
        <h2 id="crowd-title">A crowd</h2>
        <span className="figures">
          {view.kind === 'running' ? (
            <>
              <RunningClock label="The crowd is waiting, milliseconds" />
              {'\u00a0ms'}
            </>
          ) : (
            `${CROWD_SIZE} users`
          )}
        </span>
      </header>
      <p id="crowd-hint" className="instrument-text">
        {hint(postId, cacheEnabled)}
      </p>
      <ActionButton
        describedBy="crowd-hint"
        resting={resting}
        onPress={() => {
          if (postId !== null) onSend(postId);
        }}
      >
        {view.kind === 'running' ? 'A hundred are waiting…' : `Let ${CROWD_SIZE} users ask at once`}
      </ActionButton>
      <CrowdReport view={view} />
    </section>
  );
}

function hint(postId: number | null, cacheEnabled: boolean): string {
  if (postId === null) return 'Choose a post, then let a hundred users ask for it at the same moment.';
  return cacheEnabled
    ? `Clears post ${postId} from the cache, then a hundred users ask for it at the same moment.`
    : `A hundred users ask for post ${postId} at the same moment, and no cache stands in between.`;
}
