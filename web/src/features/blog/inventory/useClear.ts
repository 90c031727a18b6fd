// Empties the cache on request, or lets all of it expire, and says what that came to.
import { useMutation } from '@tanstack/react-query';
import { purge } from '../api';
import type { Config, PurgeMode } from '../api';
import { purgeProblem } from '../problems';
import type { Problem } from '../problems';

export type ClearView =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running' }
  /** `purged` is not counted where everything has only expired. */
  | { readonly kind: 'done'; readonly mode: PurgeMode; readonly purged: number | null }
  | { readonly kind: 'failed'; readonly problem: Problem };

export function useClear(config: Config, onEnd: (view: ClearView) => void): readonly [ClearView, (mode: PurgeMode) => void] {
  const { mutate, ...mutation } = useMutation({
    mutationFn: async (mode: PurgeMode) => ({ mode, purged: await purge(config, { all: true }, mode) }),
    onSuccess: (done) => onEnd({ kind: 'done', ...done }),
    onError: (error) => onEnd({ kind: 'failed', problem: purgeProblem(error) }),
  });
  return [viewOf(mutation), (mode) => mutate(mode)];
}

interface ClearMutation {
  readonly isPending: boolean;
  readonly error: Error | null;
  readonly data: { readonly mode: PurgeMode; readonly purged: number | null } | undefined;
}

function viewOf({ isPending, error, data }: ClearMutation): ClearView {
  if (isPending) return { kind: 'running' };
  if (error !== null) return { kind: 'failed', problem: purgeProblem(error) };
  return data === undefined ? { kind: 'idle' } : { kind: 'done', ...data };
}
