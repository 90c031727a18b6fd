// Back to the contents, without loading the page anew: its history of loads would be lost.
import type { MouseEvent, ReactNode } from 'react';
import { choose } from './choice';
import { isPlainClick } from './plainClick';

interface Props {
  readonly href: string;
  readonly children: ReactNode;
}

export function HomeLink({ href, children }: Props) {
  const goHome = (event: MouseEvent) => {
    if (!isPlainClick(event)) return;
    event.preventDefault();
    choose(null);
  };
  return (
    <a href={href} onClick={goHome}>
      {children}
    </a>
  );
}
