// The name, the bird, the ways to the views, and whether what one sees is of now.
import { Bird } from '../../../ui/Bird';
import type { BirdMood } from '../../../ui/Bird';
import { useApi, useEntry } from '../api/ApiContext';
import { useLive } from '../live/useLive';
import type { Link } from '../live/live';
import { findings } from '../now/health';
import { hrefOf, VIEW_NAMES, VIEWS } from '../place';
import type { View } from '../place';
import './Masthead.css';

interface Props {
  readonly view: View;
}

export function Masthead({ view }: Props) {
  const { link, samples, stats, purges } = useLive();
  // Now says it larger.
  const worst = view === 'now' || link.kind !== 'live' ? undefined : findings({ samples, stats, purges, now: samples.at(-1)?.second ?? 0 })[0];
  const bad = worst?.gravity === 'bad' ? worst : undefined;
  const { session } = useApi();
  const entry = useEntry();
  const hasToken = entry.kind === 'open' && session.hasToken;
  return (
    <header className="head">
      <h1 className="head-name">
        <a href={hrefOf('now')}>Larder</a> <span>console</span>
      </h1>
      <Bird mood={bad === undefined ? MOODS[link.kind] : 'watching'} />
      <nav className="head-views" aria-label="Views">
        {VIEWS.map((known) => (
          <a key={known} href={hrefOf(known)} aria-current={known === view ? 'page' : undefined}>
            {VIEW_NAMES[known]}
          </a>
        ))}
      </nav>
      <p className={`head-link head-link-${link.kind}`} role="status">
        {linkWords(link)}
        {bad === undefined ? null : (
          <>
            {', '}
            <a href={hrefOf('now')} className="mark-failed">
              {bad.title}
            </a>
          </>
        )}
        {hasToken ? (
          <button type="button" className="head-forget" onClick={() => session.forget()}>
            Forget the token
          </button>
        ) : null}
      </p>
    </header>
  );
}

const MOODS: Readonly<Record<Link['kind'], BirdMood>> = { connecting: 'watching', live: 'napping', hidden: 'napping', lost: 'startled' };

function linkWords(link: Link): string {
  switch (link.kind) {
    case 'connecting':
      return 'connecting…';
    case 'live':
      return 'live';
    case 'hidden':
      return 'paused while the page is hidden';
    case 'lost':
      return 'not live: trying again';
  }
}
