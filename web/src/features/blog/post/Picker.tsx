// The drop-down of all posts, and the state of their list.
import { useRef } from 'react';
import { ActionButton } from '../../../ui/ActionButton';
import { RunningClock } from '../../../ui/RunningClock';
import type { Post } from '../api';
import { millis, plural } from '../../../ui/format';
import { MARK_NAMES, markOf } from '../verdict/mark';
import type { PostsView } from './usePosts';
import './Picker.css';

interface Props {
  readonly posts: PostsView;
  readonly chosen: number | null;
  /** Also of what is chosen already. */
  readonly onChoose: (id: number | null) => void;
  readonly onRetry: () => void;
}

export function Picker({ posts, chosen, onChoose, onRetry }: Props) {
  const known = posts.kind === 'live' ? posts.posts : [];
  const isKnown = known.some(({ id }) => id === chosen);
  // A list that was opened and closed with the same choice tells of no change. What browsers do send then, as after
  // any choice from an open list, is a click without a press (its count is zero).
  const hasChanged = useRef(false);
  const begin = () => (hasChanged.current = false);
  return (
    <nav className="picker" aria-label="Posts">
      <div className="picker-row">
        <label htmlFor="picker">Post</label>
        <span className="picker-field">
          <select
            id="picker"
            value={chosen ?? ''}
            disabled={posts.kind !== 'live'}
            aria-describedby="picker-hint"
            onPointerDown={begin}
            onKeyDown={begin}
            onChange={({ target }) => {
              hasChanged.current = true;
              onChoose(target.value === '' ? null : Number(target.value));
            }}
            onClick={({ detail }) => {
              if (detail === 0 && !hasChanged.current) onChoose(chosen);
              hasChanged.current = false;
            }}
          >
            <option value="">Choose a post…</option>
            {/* The address may name a post that the list does not: the field must not show another instead. */}
            {chosen === null || isKnown ? null : <option value={chosen}>Post {chosen}</option>}
            {known.map((post) => (
              <option key={post.id} value={post.id}>
                {optionText(post)}
              </option>
            ))}
          </select>
        </span>
        <p className="picker-hint figures" id="picker-hint">
          {hint(posts)}
        </p>
        {/* With no post chosen, the reading column has this button, and more room to say what is wrong. */}
        {posts.kind === 'failed' && chosen !== null ? (
          <ActionButton describedBy="picker-hint" onPress={onRetry}>
            Fetch the list again
          </ActionButton>
        ) : null}
      </div>
    </nav>
  );
}

function optionText({ title, department }: Post): string {
  return `${title} (${department})`;
}

function hint(posts: PostsView) {
  switch (posts.kind) {
    case 'loading':
      return (
        <>
          Fetching the list… <RunningClock label="Fetching the list, milliseconds" />
          {'\u00a0ms'}
        </>
      );
    case 'empty':
      return 'There are no posts.';
    case 'failed':
      return `${posts.problem.title}.`;
    case 'live': {
      const mark = MARK_NAMES[markOf('loaded', posts.measure.verdict)];
      return `${plural(posts.posts.length, 'post', 'posts')}, listed in ${millis(posts.measure.ms)} (${mark})`;
    }
  }
}
