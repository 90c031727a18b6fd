// A post that is on its way: its head is known from the list, its text is not here yet.
import { PostHead } from './PostHead';
import type { PostHeadline } from './PostHead';

interface Props {
  /** Unknown while the list is missing too. */
  readonly head: PostHeadline | null;
}

/** Widths of the lines that stand for text, in percent: two paragraphs with ragged ends. */
const LINES = [
  [98, 94, 100, 96, 62],
  [100, 95, 99, 41],
] as const;

export function PostWaiting({ head }: Props) {
  return (
    <article className="post" aria-busy="true">
      {head === null ? <h2 className="post-unnamed">The post is on its way…</h2> : <PostHead head={head} />}
      <div className="post-waiting" aria-hidden="true">
        {LINES.map((paragraph, at) => (
          <p key={at}>
            {paragraph.map((width, line) => (
              <span key={line} style={{ inlineSize: `${width}%` }} />
            ))}
          </p>
        ))}
      </div>
    </article>
  );
}
