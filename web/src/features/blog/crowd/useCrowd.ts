// Sends the crowd: makes the post cold, lets everybody ask at once, reports what that cost.
import { useMutation } from '@tanstack/react-query';
import { cacheKey, purge, sendCrowd } from '../api';
import type { Config, CrowdResult } from '../api';
import { CROWD_SIZE } from './crowdView';
import type { Cold, CrowdView } from './crowdView';
import { crowdProblem } from '../problems';

export function useCrowd(
  config: Config,
  cacheEnabled: boolean,
  onEnd: (view: CrowdView) => void,
): readonly [CrowdView, (postId: number) => void] {
  const mutation = useMutation({
    mutationFn: async (postId: number) => {
      const cold = cacheEnabled ? await makeCold(config, postId) : 'cache-off';
      return { postId, cold, result: await sendCrowd(postId, CROWD_SIZE) };
    },
    onSuccess: (done) => onEnd({ kind: 'done', ...done }),
    onError: (error) => onEnd({ kind: 'failed', problem: crowdProblem(error) }),
  });
  return [viewOf(mutation), mutation.mutate];
}

/** Without the console the crowd can still come; the result then says that the post may have been warm. */
async function makeCold(config: Config, postId: number): Promise<Cold> {
  try {
    await purge(config, { keys: [cacheKey(postId)] }, 'hard');
    return 'cleared-first';
  } catch {
    return 'console-unreachable';
  }
}

interface CrowdMutation {
  readonly isPending: boolean;
  readonly error: Error | null;
  readonly data: { readonly postId: number; readonly cold: Cold; readonly result: CrowdResult } | undefined;
}

function viewOf({ isPending, error, data }: CrowdMutation): CrowdView {
  if (isPending) return { kind: 'running' };
  if (error !== null) return { kind: 'failed', problem: crowdProblem(error) };
  return data === undefined ? { kind: 'idle' } : { kind: 'done', ...data };
}
