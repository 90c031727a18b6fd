// The main instrument: how long the load took, what the cache did, and how far the request went.
import { ActionButton } from '../../../ui/ActionButton';
import { RunningClock } from '../../../ui/RunningClock';
import { Digits } from './Digits';
import { millisDigits } from '../../../ui/format';
import { markOf } from '../verdict/mark';
import type { PostView } from '../post/postView';
import { routeOf } from './route';
import { RouteMap } from './RouteMap';
import { VerdictBadge } from '../verdict/VerdictBadge';
import '../../../ui/Instrument.css';
import './Gauge.css';

interface Props {
  readonly view: PostView;
  /** Loads of this visit so far. */
  readonly loads: number;
  /** The posts service failed when it was last asked. */
  readonly postsServiceFails: boolean;
  /** Its backend shares posts with others. */
  readonly isShared: boolean;
  readonly onReload: () => void;
}

export function Gauge({ view, loads, postsServiceFails, isShared, onReload }: Props) {
  const measure = view.kind === 'live' || view.kind === 'failed' ? view.measure : null;
  const canReload = view.kind === 'live' || (view.kind === 'failed' && view.id !== null);
  return (
    <section className="instrument gauge" aria-labelledby="gauge-title">
      <header className="instrument-head">
        <h2 id="gauge-title">Load time</h2>
        <span className="figures">{loadWords(view, loads)}</span>
      </header>

      <div className="gauge-face">
        <p className={`gauge-digits figures gauge-${view.kind}`}>
          <span className="gauge-number">{digits(view)}</span>
          <span className="gauge-unit">ms</span>
        </p>
        {measure === null ? null : (
          <VerdictBadge
            mark={markOf(view.kind === 'failed' ? 'failed' : 'loaded', measure.verdict)}
            verdict={measure.verdict}
          />
        )}
      </div>

      <RouteMap route={routeOf(view, postsServiceFails, isShared)} />

      <ActionButton rank="main" onPress={onReload} resting={!canReload} doubleClicks>
        {view.kind === 'loading' ? 'Loading…' : 'Load this post again'}
      </ActionButton>
    </section>
  );
}

function loadWords(view: PostView, loads: number): string {
  if (view.kind === 'loading') return 'under way';
  return loads === 0 ? 'no load yet' : `load ${loads}`;
}

function digits(view: PostView) {
  switch (view.kind) {
    case 'none':
      return <Digits value="" />;
    case 'loading':
      return (
        <RunningClock key={view.id} label="Loading the post, milliseconds" render={(ms) => <Digits value={ms} />} />
      );
    case 'live':
    case 'failed':
      return <Digits value={view.measure === null ? '' : millisDigits(view.measure.ms)} />;
  }
}
