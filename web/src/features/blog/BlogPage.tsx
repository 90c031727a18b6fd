// The whole page: which loads there are, what each ending is told to whom, and where everything stands.
import { useEffect, useReducer, useRef, useState } from 'react';
import { Announcer } from '../../ui/Announcer';
import type { BirdMood } from '../../ui/Bird';
import { useMedia } from '../../ui/useMedia';
import { clearSaid, crowdSaid, loadSaid } from './announcements';
import type { Config } from './api';
import { eventsUrl } from './api';
import { Article } from './post/Article';
import { choose, useChoice } from './choice';
import { Crowd } from './crowd/Crowd';
import type { CrowdView } from './crowd/crowdView';
import { Gauge } from './gauge/Gauge';
import { History } from './history/History';
import { Inventory } from './inventory/Inventory';
import { JumpLinks } from './JumpLinks';
import { Masthead } from './Masthead';
import { Picker } from './post/Picker';
import type { PostView } from './post/postView';
import { useClear } from './inventory/useClear';
import { useCounters } from './inventory/useCounters';
import { useCrowd } from './crowd/useCrowd';
import { usePost } from './post/usePost';
import { usePosts } from './post/usePosts';
import type { PostsView } from './post/usePosts';
import { RulesPanel } from './rules/RulesPanel';
import { rulesOf, useRules } from './rules/useRules';
import { withLoad } from './history/visit';
import './BlogPage.css';

interface Props {
  readonly config: Config;
}

/** From here on there are two columns, as in the stylesheet. */
const TWO_COLUMNS = '(min-width: 64rem)';

export function BlogPage({ config }: Props) {
  const choice = useChoice();
  const isWide = useMedia(TWO_COLUMNS);
  const [visit, countLoad] = useReducer(withLoad, []);
  const [announcement, setAnnouncement] = useState({ number: 0, text: '' });
  const say = (text: string) => setAnnouncement(({ number }) => ({ number: number + 1, text }));

  const [rulesView, changeRule] = useRules(config);
  const rules = rulesOf(rulesView);
  const cacheEnabled = rules?.enabled ?? config.cacheEnabled;
  const postsServiceFails = rules?.posts_service === 'failed';
  const isShared = rules?.shared ?? false;

  const [posts, reloadPosts] = usePosts(config);
  const [post, reloadPost] = usePost(config, choice, (load) => {
    countLoad(load);
    say(loadSaid(load));
  });
  const [crowd, sendCrowd] = useCrowd(config, cacheEnabled, (view) => say(crowdSaid(view)));
  const [clear, clearCache] = useClear(config, isShared, (view) => say(clearSaid(view)));
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

  /** What is chosen already is loaded again, as the story has it; while it is being loaded, that will do. */
  const open = (id: number | null) => {
    if (id === null || id !== chosen) choose(id);
    else if (post.kind !== 'loading') reloadPost();
  };

  const picker = <Picker key="picker" posts={posts} chosen={chosen} onChoose={open} onRetry={reloadPosts} />;
  const rulesPanel = (
    <RulesPanel key="rules" view={rulesView} enabledAtFirst={config.cacheEnabled} onSwitch={changeRule} />
  );
  const gauge = (
    <Gauge
      key="gauge"
      view={post}
      loads={visit.at(-1)?.number ?? 0}
      postsServiceFails={postsServiceFails}
      isShared={isShared}
      onReload={reloadPost}
    />
  );
  const history = <History key="history" visit={visit} postsDelayMs={config.postsDelayMs} />;
  const article = (
    <main key="article" className="spread-article" id="post" tabIndex={-1} ref={articleRef}>
      <Article
        view={post}
        posts={posts}
        postsDelayMs={config.postsDelayMs}
        cacheEnabled={cacheEnabled}
        onChoose={(id) => {
          open(id);
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
  );
  const crowdPanel = (
    <Crowd key="crowd" view={crowd} postId={chosen} cacheEnabled={cacheEnabled} onSend={sendCrowd} />
  );
  const inventory = (
    <Inventory
      key="inventory"
      counters={counters}
      config={config}
      cacheEnabled={cacheEnabled}
      clear={clear}
      onClear={clearCache}
      onConnect={connectCounters}
    />
  );

  return (
    <div className="page">
      <a className="skip-link" href="#post">
        Skip to the post
      </a>
      <Masthead mood={moodOf(post, posts, crowd)} postsDelayMs={config.postsDelayMs} />
      {/* The keyboard walks through all this in the order in which it is seen, wherever that is. */}
      <div className="spread">
        {isWide
          ? [picker, article, rulesPanel, gauge, history, crowdPanel, inventory]
          : [picker, <JumpLinks key="jump" />, gauge, history, rulesPanel, article, crowdPanel, inventory]}
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
