// One line of the contents: a real link, so that it can be copied or opened beside this page.
import type { MouseEvent } from 'react';
import type { Post } from '../api';
import { hrefOf } from '../choice';
import { isPlainClick } from '../plainClick';

interface Props {
  readonly post: Post;
  readonly onChoose: (id: number) => void;
}

export function ContentsEntry({ post, onChoose }: Props) {
  const open = (event: MouseEvent) => {
    if (!isPlainClick(event)) return;
    event.preventDefault();
    onChoose(post.id);
  };
  return (
    <li>
      <a href={hrefOf(post.id)} onClick={open}>
        {post.title}
      </a>
      <span className="contents-byline">
        {post.department} · {post.author}
      </span>
    </li>
  );
}
