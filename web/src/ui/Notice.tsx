// Something went wrong: what, what to do about it, and the way on.
import type { ReactNode } from 'react';
import { Words } from './Words';
import './Notice.css';

interface Props {
  readonly title: string;
  readonly advice: string;
  readonly detail: string | null;
  /** A button, usually. */
  readonly children?: ReactNode;
}

export function Notice({ title, advice, detail, children }: Props) {
  return (
    <div className="notice" role="alert">
      <h2>{title}</h2>
      <p>
        <Words text={advice} />
      </p>
      {detail === null ? null : <p className="notice-detail">{detail}</p>}
      {children}
    </div>
  );
}
