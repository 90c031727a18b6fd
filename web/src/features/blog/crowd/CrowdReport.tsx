// What became of the crowd: one sign per user, then the count that matters and the rest of the numbers.
import { coldSentence } from './crowdView';
import type { CrowdView } from './crowdView';
import { CrowdPicture } from './CrowdPicture';
import { millis } from '../../../ui/format';

interface Props {
  readonly view: CrowdView;
}

export function CrowdReport({ view }: Props) {
  switch (view.kind) {
    case 'idle':
      return null;
    case 'running':
      return <CrowdPicture result={null} />;
    case 'failed':
      return (
        <p className="instrument-failure">
          <strong>{view.problem.title}.</strong> {view.problem.advice}
          {view.problem.detail === null ? null : <span className="instrument-detail"> {view.problem.detail}</span>}
        </p>
      );
    case 'done': {
      const { result, postId } = view;
      const cold = coldSentence(view.cold);
      return (
        <>
          <p className="crowd-headline figures">
            <strong>{result.fetches}</strong> {result.fetches === 1 ? 'fetch' : 'fetches'} for{' '}
            {result.users} users of post {postId}
          </p>
          <CrowdPicture result={result} />
          <dl className="facts figures">
            <div>
              <dt>Answered</dt>
              <dd>{result.answered}</dd>
            </div>
            <div>
              <dt>Failed</dt>
              <dd>{result.failed}</dd>
            </div>
            <div>
              <dt>Waited along</dt>
              <dd>{result.collapsed}</dd>
            </div>
            <div>
              <dt>Fastest</dt>
              <dd>{millis(result.fastest_ms)}</dd>
            </div>
            <div>
              <dt>Median</dt>
              <dd>{millis(result.median_ms)}</dd>
            </div>
            <div>
              <dt>Slowest</dt>
              <dd>{millis(result.slowest_ms)}</dd>
            </div>
          </dl>
          {cold === null ? null : <p className="instrument-text">{cold}</p>}
        </>
      );
    }
  }
}
