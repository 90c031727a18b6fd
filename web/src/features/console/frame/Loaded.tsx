// What is asked of the server, in each of its states: on its way, failed with a way on, there, or there and old.
import type { UseQueryResult } from '@tanstack/react-query';
import type { ReactNode } from 'react';
import { ActionButton } from '../../../ui/ActionButton';
import { clockTime } from '../../../ui/format';
import { Notice } from '../../../ui/Notice';
import { isNotTold, problemOf } from '../api/trouble';

interface Props<T> {
  readonly query: UseQueryResult<T>;
  /** As in “does not tell its routes”. */
  readonly what: string;
  readonly children: (data: T) => ReactNode;
}

export function Loaded<T>({ query, what, children }: Props<T>) {
  if (query.data !== undefined) {
    return (
      <>
        {query.error === null ? null : (
          <p className="soft" role="status">
            Not of now, but of {clockTime(new Date(query.dataUpdatedAt))}: {problemOf(query.error, what).title.toLowerCase()}.
          </p>
        )}
        {children(query.data)}
      </>
    );
  }
  if (query.error === null || query.isFetching) return <p className="soft">On its way…</p>;
  const problem = problemOf(query.error, what);
  if (isNotTold(query.error)) {
    return (
      <p className="soft">
        {problem.title}. {problem.advice}
      </p>
    );
  }
  return (
    <Notice {...problem}>
      <ActionButton rank="main" onPress={() => void query.refetch()}>
        Try again
      </ActionButton>
    </Notice>
  );
}
