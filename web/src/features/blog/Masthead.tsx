// The name, the bird, and the story in two sentences.
import { Bird } from '../../ui/Bird';
import type { BirdMood } from '../../ui/Bird';
import { hrefOf } from './choice';
import { inWords } from '../../ui/format';
import { HomeLink } from './HomeLink';
import './Masthead.css';

interface Props {
  readonly mood: BirdMood;
  /** Not known before the page has its configuration. */
  readonly postsDelayMs: number | null;
}

export function Masthead({ mood, postsDelayMs }: Props) {
  return (
    <header className="masthead">
      <h1>
        <HomeLink href={hrefOf(null)}>Larder</HomeLink>
      </h1>
      <p className="masthead-lede">
        Every post comes from a service that needs {postsDelayMs === null ? 'its time' : inWords(postsDelayMs)} to
        answer. Larder stands before it and keeps what it has fetched. <em>So ask twice.</em>
      </p>
      <Bird mood={mood} />
    </header>
  );
}
