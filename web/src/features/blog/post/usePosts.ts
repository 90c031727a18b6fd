// The list of posts, loaded once and again only on demand.
import { useQuery } from '@tanstack/react-query';
import type { Answer, Measure } from '../../../wire/ask';
import { listPosts } from '../api';
import type { Config, Post } from '../api';
import { listProblem } from '../problems';
import type { Problem } from '../problems';

export type PostsView =
  | { readonly kind: 'loading' }
  | { readonly kind: 'empty' }
  | { readonly kind: 'live'; readonly posts: readonly Post[]; readonly measure: Measure }
  | { readonly kind: 'failed'; readonly problem: Problem };

export function usePosts(config: Config): readonly [PostsView, () => void] {
  const query = useQuery({
    queryKey: ['posts', config.backendUrl],
    queryFn: ({ signal }) => listPosts(config, signal),
    staleTime: Infinity,
  });
  return [viewOf(query), () => void query.refetch()];
}

interface PostsQuery {
  readonly isFetching: boolean;
  readonly error: Error | null;
  readonly data: Answer<readonly Post[]> | undefined;
}

function viewOf({ data, error, isFetching }: PostsQuery): PostsView {
  if (isFetching) return { kind: 'loading' };
  if (error !== null) return { kind: 'failed', problem: listProblem(error) };
  if (data === undefined) return { kind: 'loading' };
  return data.value.length === 0 ? { kind: 'empty' } : { kind: 'live', posts: data.value, measure: data.measure };
}
