// Loads the chosen post. Every load is somebody's deliberate act: none is repeated, renewed or left uncounted.
import { skipToken, useQuery } from '@tanstack/react-query';
import { AskFailed } from '../../../wire/ask';
import { getPost } from '../api';
import type { Config } from '../api';
import type { Choice } from '../choice';
import { postView } from './postView';
import type { PostView } from './postView';
import type { Load } from '../history/visit';

export type FinishedLoad = Omit<Load, 'number'>;

/** `onLoad` hears of each load once, when it ends. One that was left for another post never ends. */
export function usePost(
  config: Config,
  choice: Choice,
  onLoad: (load: FinishedLoad) => void,
): readonly [PostView, () => void] {
  const id = choice.kind === 'post' ? choice.id : null;
  const query = useQuery({
    queryKey: ['post', config.backendUrl, id],
    queryFn:
      id === null
        ? skipToken
        : async ({ signal }) => {
            try {
              const answer = await getPost(config, id, signal);
              onLoad({ ...answer.measure, postId: id, ending: 'loaded', at: new Date() });
              return answer;
            } catch (error) {
              if (error instanceof AskFailed) {
                onLoad({ ...error.measure, postId: id, ending: 'failed', at: new Date() });
              }
              throw error;
            }
          },
    // A post that was left is forgotten, so that coming back to it asks Larder again: that is the show.
    gcTime: 0,
  });
  return [postView(choice, query), () => void query.refetch()];
}
