// The whole page: which loads there are, what each ending is told to whom, and where everything stands.
import { useEffect, useReducer, useRef, useState } from 'react';
import { Announcer } from '../../ui/Announcer';
import type { BirdMood } from '../../ui/Bird';
import { clearSaid, crowdSaid, loadSaid } from './announcements';
import type { Config } from './api';
import { eventsUrl } from './api';
import { Article } from './post/Article';
import { BeforePicture } from './BeforePicture';
import { choose, useChoice } from './choice';
import { Crowd } from './crowd/Crowd';
import type { CrowdView } from './crowd/crowdView';
import { Gauge } from './gauge/Gauge';
import { History } from './history/History';
import { Inventory } from './inventory/Inventory';
import { Masthead } from './Masthead';
import { Picker } from './post/Picker';
import type { PostView } from './post/postView';
import { useClear } from './inventory/useClear';
import { useCounters } from './inventory/useCounters';
import { useCrowd } from './crowd/useCrowd';
import { usePost } from './post/usePost';
import { usePosts } from './post/usePosts';
import type { PostsView } from './post/usePosts';
import { withLoad } from './history/visit';
import './BlogPage.css';

interface Props {
  readonly config: Config;
}

export function BlogPage({ config }: Props) {
  const choice = useChoice();
  const [visit, countLoad] = useReducer(withLoad, []);
  const [announcement, setAnnouncement] = useState({ number: 0, text: '' });
  const say = (text: string) => setAnnouncement(({ number }) => ({ number: number + 1, text }));

  const [posts, reloadPosts] = usePosts(config);
  const [post, reloadPost] = usePost(config, choice, (load) => {
    countLoad(load);
    say(loadSaid(load));
  });
  const [crowd, sendCrowd] = useCrowd(config, (view) => say(crowdSaid(view)));
  const [clear, clearCache] = useClear(config, (view) => say(clearSaid(view)));
  const [counters, connectCounters] = useCounters(eventsUrl(config));

  // A link or button in the article is gone once it has done its work; focus must not fall to nowhere.
  const articleRef = useRef<HTMLElement>(null);
  const holdFocus = () => articleRef.current?.focus({ preventScroll: true });

  const known = posts.kind === 'live' ? posts.posts : [];
  const chosen = post.kind === 'none' || post.id === null ? null : post.id;
  const title = post.kind === 'live' ? post.post.title : known.find(({ id }) => id === chosen)?.title;

  useEffect(() => {
    document.title = title === undefined ? 'Larder' : `${title} · Larder`;
  }, [title]);

  return (
    <div className="page">
      <a className="skip-link" href="#post">
        Skip to the post
      </a>
      <Masthead mood={moodOf(post, posts, crowd)} postsDelayMs={config.postsDelayMs} />
      {config.cacheEnabled ? null : <BeforePicture />}
      <Picker posts={posts} chosen={chosen} onChoose={choose} onRetry={reloadPosts} />

      <div className="spread">
        <div className="spread-measures">
          <Gauge view={post} loads={visit.at(-1)?.number ?? 0} onReload={reloadPost} />
          <History visit={visit} postsDelayMs={config.postsDelayMs} />
        </div>
        <main className="spread-article" id="post" tabIndex={-1} ref={articleRef}>
          <Article
            view={post}
            posts={posts}
            postsDelayMs={config.postsDelayMs}
            onChoose={(id) => {
              choose(id);
              holdFocus();
              // The entry may have stood far down; the clock that now runs is at the top.
              document.documentElement.scrollTop = 0;
            }}
            onRetry={() => {
              reloadPost();
              if (posts.kind === 'failed') reloadPosts();
              holdFocus();
            }}
            onRetryList={() => {
              reloadPosts();
              holdFocus();
            }}
          />
        </main>
        <div className="spread-bench">
          <Crowd view={crowd} postId={chosen} cacheEnabled={config.cacheEnabled} onSend={sendCrowd} />
          <Inventory
            counters={counters}
            config={config}
            clear={clear}
            onClear={clearCache}
            onConnect={connectCounters}
          />
        </div>
      </div>

      <footer className="page-foot">
        <p>
          Load times are measured in this browser, from the request until the last byte of the post has been read. The
          browser’s own cache takes no part.
        </p>
      </footer>
      <Announcer announcement={announcement} />
    </div>
  );
}

function moodOf(post: PostView, posts: PostsView, crowd: CrowdView): BirdMood {
  if ([post.kind, posts.kind].includes('loading') || crowd.kind === 'running') return 'watching';
  return [post.kind, posts.kind].includes('failed') ? 'startled' : 'napping';
}
