// HIT, MISS or STALE: a word, a shape and a colour that say the same, and how old the answer is.
import type { Verdict } from '../../../wire/cacheStatus';
import { MARK_NAMES } from './mark';
import type { Mark } from '../../../ui/mark';
import { MarkSign } from '../../../ui/MarkSign';
import { badgeNote, spokenVerdict } from './verdictWords';
import './VerdictBadge.css';

interface Props {
  readonly mark: Mark;
  readonly verdict: Verdict;
}

export function VerdictBadge({ mark, verdict }: Props) {
  const note = mark === 'failed' ? failedNote(verdict) : badgeNote(verdict);
  return (
    <p className={`badge mark-${mark}`}>
      <span className="badge-word">
        <MarkSign mark={mark} />
        {MARK_NAMES[mark]}
      </span>
      {note === null ? null : <span className="badge-note figures">{note}</span>}
    </p>
  );
}

/** An error can come from the cache as well, and then has an age like anything else. */
function failedNote(verdict: Verdict): string | null {
  return verdict.kind === 'unsaid' ? null : spokenVerdict(verdict);
}
