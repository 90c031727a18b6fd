// The page before it knows where its backend is, and then the page itself.
import { useQuery } from '@tanstack/react-query';
import { ActionButton } from '../../ui/ActionButton';
import { Notice } from '../../ui/Notice';
import { fetchConfig } from './api';
import { BlogPage } from './BlogPage';
import { Masthead } from './Masthead';
import { configProblem } from './problems';
import './BlogPage.css';

export function Blog() {
  const query = useQuery({
    queryKey: ['config'],
    queryFn: ({ signal }) => fetchConfig(location.hostname, signal),
    staleTime: Infinity,
  });

  if (query.data !== undefined) return <BlogPage config={query.data} />;
  const problem = query.error === null || query.isFetching ? null : configProblem(query.error);
  return (
    <div className="page">
      <Masthead mood={problem === null ? 'napping' : 'startled'} postsDelayMs={null} />
      <main className="page-alone">
        {problem === null ? (
          <p>Finding the backend…</p>
        ) : (
          <Notice {...problem}>
            <ActionButton rank="main" onPress={() => void query.refetch()}>
              Try again
            </ActionButton>
          </Notice>
        )}
      </main>
    </div>
  );
}
