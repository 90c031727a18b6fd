// The chosen post as one of the states that can be drawn. Everything the page shows of it follows from here.
import type { Answer, Measure } from '../../../wire/ask';
import { AskFailed } from '../../../wire/ask';
import type { Post } from '../api';
import type { Choice } from '../choice';
import { postProblem, unreadableProblem } from '../problems';
import type { Problem } from '../problems';

/** How far the request came. `nowhere`: it came back with an answer, only not with a post. */
export type BrokeAt = 'this-page' | 'backend' | 'posts-service' | 'nowhere';

export type PostView =
  | { readonly kind: 'none' }
  | { readonly kind: 'loading'; readonly id: number; /** Still readable meanwhile. */ readonly last: Post | null }
  | { readonly kind: 'live'; readonly id: number; readonly post: Post; readonly measure: Measure }
  | {
      readonly kind: 'failed';
      readonly id: number | null;
      readonly problem: Problem;
      readonly brokeAt: BrokeAt;
      /** None if nobody was asked. */
      readonly measure: Measure | null;
      /** The same post from an earlier load: an outage must not take away what is being read. */
      readonly last: Post | null;
    };

/** What the query cache knows of the chosen post. */
export interface PostQuery {
  readonly isFetching: boolean;
  readonly data: Answer<Post> | undefined;
  readonly error: Error | null;
}

export function postView(choice: Choice, query: PostQuery): PostView {
  if (choice.kind === 'none') return { kind: 'none' };
  if (choice.kind === 'unreadable') {
    return {
      kind: 'failed',
      id: null,
      problem: unreadableProblem(choice.text),
      brokeAt: 'this-page',
      measure: null,
      last: null,
    };
  }

  const { id } = choice;
  const last = query.data?.value ?? null;
  if (query.error !== null && !query.isFetching) {
    return {
      kind: 'failed',
      id,
      problem: postProblem(query.error, id),
      brokeAt: brokeAt(query.error),
      measure: query.error instanceof AskFailed ? query.error.measure : null,
      last,
    };
  }
  if (query.data === undefined || query.isFetching) return { kind: 'loading', id, last };
  return { kind: 'live', id, post: query.data.value, measure: query.data.measure };
}

function brokeAt(error: Error): BrokeAt {
  if (!(error instanceof AskFailed)) return 'this-page';
  switch (error.trouble.kind) {
    case 'unreachable':
      return 'backend';
    case 'refused':
      return error.trouble.status >= 500 ? 'posts-service' : 'nowhere';
    case 'garbled':
      return 'nowhere';
  }
}
