// A post, set to be read.
import type { Post } from '../api';
import { paragraphs } from '../../../ui/format';
import { PostHead } from './PostHead';

interface Props {
  readonly post: Post;
}

export function PostText({ post }: Props) {
  return (
    <article className="post">
      <PostHead head={post} />
      <div className="post-prose">
        {paragraphs(post.content).map((paragraph, index) => (
          <p key={index}>{paragraph}</p>
        ))}
      </div>
    </article>
  );
}
