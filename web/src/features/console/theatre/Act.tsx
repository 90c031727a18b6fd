// One act: what it is called, what it is about, what one does, and what became of it.
import { useId } from 'react';
import type { ReactNode } from 'react';
import { ActStatus } from './ActStatus';
import type { ActState } from './ActStatus';

interface Props {
  readonly title: string;
  readonly about: string;
  readonly state: ActState;
  readonly children: ReactNode;
}

export function Act({ title, about, state, children }: Props) {
  const id = useId();
  return (
    <section className="part act" aria-labelledby={id}>
      <header className="part-head">
        <h2 id={id}>{title}</h2>
        <p className="breaks">{about}</p>
      </header>
      {children}
      <ActStatus state={state} />
    </section>
  );
}
