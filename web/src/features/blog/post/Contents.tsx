// The table of contents: what one sees before choosing, and the way on after a dead end.
import { ActionButton } from '../../../ui/ActionButton';
import { Notice } from '../../../ui/Notice';
import { ContentsEntry } from './ContentsEntry';
import { ContentsWaiting } from './ContentsWaiting';
import { inWords } from '../../../ui/format';
import type { PostsView } from './usePosts';
import './Contents.css';

interface Props {
  readonly posts: PostsView;
  readonly postsDelayMs: number;
  readonly cacheEnabled: boolean;
  readonly onChoose: (id: number) => void;
  readonly onRetry: () => void;
}

export function Contents({ posts, postsDelayMs, cacheEnabled, onChoose, onRetry }: Props) {
  switch (posts.kind) {
    case 'live':
      return (
        <section className="contents" aria-labelledby="contents-title">
          <h2 id="contents-title">Choose a post</h2>
          <p className="contents-lede">
            {cacheEnabled
              ? `The first load takes ${inWords(postsDelayMs)}. Load it again, and watch the clock.`
              : `The cache is off: every load takes ${inWords(postsDelayMs)}.`}
          </p>
          <ol>
            {posts.posts.map((post) => (
              <ContentsEntry key={post.id} post={post} onChoose={onChoose} />
            ))}
          </ol>
        </section>
      );
    case 'loading':
      return (
        <section className="contents" aria-busy="true">
          <h2>Choose a post</h2>
          <p className="contents-lede">The list is on its way. It takes its time as well, the first time.</p>
          <ContentsWaiting />
        </section>
      );
    case 'empty':
      return (
        <section className="contents">
          <h2>No posts yet</h2>
          <p className="contents-lede">The posts service answered, but its table is empty.</p>
          <ActionButton onPress={onRetry}>Fetch the list again</ActionButton>
        </section>
      );
    case 'failed':
      return (
        <Notice {...posts.problem}>
          <ActionButton rank="main" onPress={onRetry}>
            Fetch the list again
          </ActionButton>
        </Notice>
      );
  }
}
