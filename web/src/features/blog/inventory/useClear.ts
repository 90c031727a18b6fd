// Empties the cache on request, and says what that removed.
import { useMutation } from '@tanstack/react-query';
import { purge } from '../api';
import type { Config } from '../api';
import { purgeProblem } from '../problems';
import type { Problem } from '../problems';

export type ClearView =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running' }
  | { readonly kind: 'done'; readonly purged: number }
  | { readonly kind: 'failed'; readonly problem: Problem };

export function useClear(config: Config, onEnd: (view: ClearView) => void): readonly [ClearView, () => void] {
  const { mutate, ...mutation } = useMutation({
    mutationFn: () => purge(config, { all: true }),
    onSuccess: (purged) => onEnd({ kind: 'done', purged }),
    onError: (error) => onEnd({ kind: 'failed', problem: purgeProblem(error) }),
  });
  return [viewOf(mutation), () => mutate()];
}

interface ClearMutation {
  readonly isPending: boolean;
  readonly error: Error | null;
  readonly data: number | undefined;
}

function viewOf({ isPending, error, data }: ClearMutation): ClearView {
  if (isPending) return { kind: 'running' };
  if (error !== null) return { kind: 'failed', problem: purgeProblem(error) };
  return data === undefined ? { kind: 'idle' } : { kind: 'done', purged: data };
}
