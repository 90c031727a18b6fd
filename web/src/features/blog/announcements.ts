// What a screen reader hears when something has ended. Numbered, for a region that repeats itself stays silent.
import type { CrowdView } from './crowd/crowdView';
import { millis, plural } from '../../ui/format';
import type { FinishedLoad } from './post/usePost';
import type { ClearView } from './inventory/useClear';
import { spokenVerdict } from './verdict/verdictWords';

export function loadSaid(load: FinishedLoad): string {
  const ending = load.ending === 'loaded' ? 'Post loaded' : 'Loading failed';
  const verdict = load.verdict.kind === 'unsaid' ? '' : `, ${spokenVerdict(load.verdict)}`;
  return `${ending} in ${millis(load.ms)}${verdict}.`;
}

export function crowdSaid(view: CrowdView): string {
  if (view.kind === 'failed') return view.problem.title;
  if (view.kind !== 'done') return '';
  const { users, answered, failed, fetches } = view.result;
  return `${users} users asked: ${answered} answered, ${failed} failed, ${plural(fetches, 'fetch', 'fetches')}.`;
}

export function clearSaid(view: ClearView): string {
  if (view.kind === 'failed') return view.problem.title;
  return view.kind === 'done' ? clearedSentence(view) : '';
}

export function clearedSentence({ mode, purged, backends }: Extract<ClearView, { kind: 'done' }>): string {
  if (backends === 'not-all-yet') return 'Done here. The other backends have not said so yet; they follow within seconds.';
  // What was shared is gone as well, and nobody counts that.
  if (backends !== null && mode === 'hard') {
    return `Cleared at ${plural(backends, 'backend', 'backends')}. Every post is slow again, once.`;
  }
  if (mode === 'soft') return 'From now on every copy counts as expired.';
  return purged === 0
    ? 'There was nothing to clear.'
    : `Cleared ${purged === null ? 'everything' : plural(purged, 'entry', 'entries')}. Every post is slow again, once.`;
}
