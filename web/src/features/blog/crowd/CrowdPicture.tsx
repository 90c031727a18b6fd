// One sign per user. The numbers beside it say the same, so the picture is silent.
import type { CrowdResult } from '../api';
import { CROWD_SIZE, sharesOf } from './crowdView';
import type { Share } from './crowdView';
import type { Mark } from '../../../ui/mark';
import { MarkShape } from '../../../ui/MarkShape';
import { MarkSign } from '../../../ui/MarkSign';

interface Props {
  /** Not known while they are waiting. */
  readonly result: CrowdResult | null;
}

const PER_ROW = 25;
const PITCH = 12.8;

const SHARE_WORDS: Readonly<Record<Share, string>> = {
  asked: 'asked the posts service',
  waited: 'waited for that answer',
  kept: 'found it in the cache',
  failed: 'got no answer',
};

const MARK_OF: Readonly<Record<Share, Mark>> = { asked: 'miss', waited: 'unsaid', kept: 'hit', failed: 'failed' };

export function CrowdPicture({ result }: Props) {
  const shares = result === null ? Array<Share>(CROWD_SIZE).fill('waited') : sharesOf(result);
  const rows = Math.ceil(shares.length / PER_ROW);
  return (
    <div className="crowd-picture">
      <svg
        className={result === null ? 'crowd-waiting' : undefined}
        viewBox={`0 0 ${PER_ROW * PITCH} ${rows * PITCH}`}
        aria-hidden="true"
        focusable="false"
      >
        {shares.map((share, user) => (
          <g key={user} className={`mark-${MARK_OF[share]}`}>
            <MarkShape
              mark={MARK_OF[share]}
              x={((user % PER_ROW) + 0.5) * PITCH}
              y={(Math.floor(user / PER_ROW) + 0.5) * PITCH}
            />
          </g>
        ))}
      </svg>
      {result === null ? null : (
        <p className="crowd-legend">
          {[...new Set(shares)].map((share) => (
            <span key={share}>
              <MarkSign mark={MARK_OF[share]} /> {SHARE_WORDS[share]}
            </span>
          ))}
        </p>
      )}
    </div>
  );
}
