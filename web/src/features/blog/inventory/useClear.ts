// Empties the cache on request, or lets all of it expire, and says what that came to.
import { useMutation } from '@tanstack/react-query';
import { purge } from '../api';
import type { Config, Purged, PurgeMode } from '../api';
import { purgeProblem } from '../problems';
import type { Problem } from '../problems';

export type ClearView =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running' }
  /** Entries are not counted where everything has only expired. */
  | ({ readonly kind: 'done'; readonly mode: PurgeMode } & Purged)
  | { readonly kind: 'failed'; readonly problem: Problem };

/** `isShared`: it is done when it is at all backends. */
export function useClear(
  config: Config,
  isShared: boolean,
  onEnd: (view: ClearView) => void,
): readonly [ClearView, (mode: PurgeMode) => void] {
  const { mutate, ...mutation } = useMutation({
    mutationFn: async (mode: PurgeMode) => ({ mode, ...(await purge(config, { all: true }, mode, isShared)) }),
    onSuccess: (done) => onEnd({ kind: 'done', ...done }),
    onError: (error) => onEnd({ kind: 'failed', problem: purgeProblem(error) }),
  });
  return [viewOf(mutation), (mode) => mutate(mode)];
}

interface ClearMutation {
  readonly isPending: boolean;
  readonly error: Error | null;
  readonly data: ({ readonly mode: PurgeMode } & Purged) | undefined;
}

function viewOf({ isPending, error, data }: ClearMutation): ClearView {
  if (isPending) return { kind: 'running' };
  if (error !== null) return { kind: 'failed', problem: purgeProblem(error) };
  return data === undefined ? { kind: 'idle' } : { kind: 'done', ...data };
}
