// Loads the chosen post. Every load is somebody's deliberate act: none is repeated, renewed or left uncounted.
import { skipToken, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect, useRef } from 'react';
import { AskFailed } from '../../../wire/ask';
import { getPost } from '../api';
import type { Config } from '../api';
import type { Choice } from '../choice';
import { postView } from './postView';
import type { PostView } from './postView';
import type { Load } from '../history/visit';

export type FinishedLoad = Omit<Load, 'number'>;

/**
 * `onLoad` hears of each load once, when it ends. One that was left for another post never ends. The second of
 * the two given back loads the post again; while a load is under way, that load is waited for first, and one that
 * is waiting already is enough.
 */
export function usePost(
  config: Config,
  choice: Choice,
  onLoad: (load: FinishedLoad) => void,
): readonly [PostView, () => void] {
  const id = choice.kind === 'post' ? choice.id : null;
  const client = useQueryClient();
  const queryKey = ['post', config.backendUrl, id];
  const query = useQuery({
    queryKey,
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
  const { isFetching, refetch } = query;
  const isNextWaiting = useRef(false);
  useEffect(() => {
    if (isFetching || !isNextWaiting.current) return;
    isNextWaiting.current = false;
    void refetch();
  }, [isFetching, refetch]);
  useEffect(() => {
    // It was meant for the post that was chosen then.
    isNextWaiting.current = false;
  }, [id]);

  const reload = () => {
    // Asked of the query cache: two presses may come before the page is drawn again.
    if (client.isFetching({ queryKey }) > 0) isNextWaiting.current = true;
    else if (id !== null) void refetch();
  };
  return [postView(choice, query), reload];
}
