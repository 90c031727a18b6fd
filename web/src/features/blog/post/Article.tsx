// The reading column: the chosen post in whatever state it is, or an invitation to choose one.
import { ActionButton } from '../../../ui/ActionButton';
import { Notice } from '../../../ui/Notice';
import { Contents } from './Contents';
import { PostText } from './PostText';
import { PostWaiting } from './PostWaiting';
import type { PostView } from './postView';
import type { PostsView } from './usePosts';
import './Article.css';

interface Props {
  readonly view: PostView;
  readonly posts: PostsView;
  readonly postsDelayMs: number;
  readonly cacheEnabled: boolean;
  readonly onChoose: (id: number) => void;
  readonly onRetry: () => void;
  readonly onRetryList: () => void;
}

export function Article({ view, posts, postsDelayMs, cacheEnabled, onChoose, onRetry, onRetryList }: Props) {
  const contents = (
    <Contents
      posts={posts}
      postsDelayMs={postsDelayMs}
      cacheEnabled={cacheEnabled}
      onChoose={onChoose}
      onRetry={onRetryList}
    />
  );
  switch (view.kind) {
    case 'none':
      return contents;
    case 'loading': {
      if (view.last !== null) return <PostText post={view.last} />;
      const known = posts.kind === 'live' ? posts.posts.find(({ id }) => id === view.id) : undefined;
      return <PostWaiting head={known ?? null} />;
    }
    case 'live':
      return <PostText post={view.post} />;
    case 'failed':
      return (
        <>
          <Notice {...view.problem}>
            {view.id === null ? null : (
              <ActionButton rank={view.brokeAt === 'nowhere' ? 'side' : 'main'} onPress={onRetry}>
                Try again
              </ActionButton>
            )}
          </Notice>
          {view.last === null ? (
            // One notice with one button will do: trying again fetches a missing list too.
            <div className="article-way-on">{posts.kind === 'failed' && view.id !== null ? null : contents}</div>
          ) : (
            <>
              <p className="article-earlier">Below is the post as it was loaded before.</p>
              <PostText post={view.last} />
            </>
          )}
        </>
      );
  }
}
