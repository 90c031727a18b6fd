// What stands above a post: its department, its title, who wrote it and when.
import type { Post } from '../api';
import { day } from '../../../ui/format';

export type PostHeadline = Pick<Post, 'title' | 'department' | 'author' | 'created_at'>;

interface Props {
  readonly head: PostHeadline;
}

export function PostHead({ head }: Props) {
  return (
    <header className="post-head">
      <p className="post-department">{head.department}</p>
      <h2>{head.title}</h2>
      <p className="post-byline">
        By {head.author} · <time dateTime={head.created_at.toISOString()}>{day(head.created_at)}</time>
      </p>
    </header>
  );
}
