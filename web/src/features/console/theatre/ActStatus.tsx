// What became of an act: nothing yet, on its way, done, or failed and why. Said aloud as it changes.
import type { ReactNode } from 'react';
import { AskFailed } from '../../../wire/ask';
import { problemOf } from '../api/trouble';
import './ActStatus.css';

export type ActState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'underWay'; readonly says: string }
  | { readonly kind: 'done'; readonly says: ReactNode }
  /** It holds until it is taken back. */
  | { readonly kind: 'holds'; readonly says: string }
  | { readonly kind: 'failed'; readonly error: Error };

export function ActStatus({ state }: { readonly state: ActState }) {
  return (
    <p className={`act-status act-status-${state.kind}`} role="status">
      {saysOf(state)}
    </p>
  );
}

function saysOf(state: ActState): ReactNode {
  switch (state.kind) {
    case 'idle':
      return '';
    case 'underWay':
    case 'done':
    case 'holds':
      return state.says;
    case 'failed':
      return whyFailed(state.error);
  }
}

function whyFailed(error: Error): string {
  if (error instanceof AskFailed && error.trouble.kind === 'refused') {
    const { status, said } = error.trouble;
    if (status === 401 || status === 429) return 'It takes the write token: show it above, then do it again.';
    // Sentences of problems begin small, and end without a stop.
    return said === '' ? `The server refused it: status ${status}.` : `The server refused it: ${said}.`;
  }
  const { title, advice } = problemOf(error, 'what came of it');
  return `${title}. ${advice}`;
}
