// What is in the larder, counted live by the cache itself, and the button that empties it.
import { ActionButton } from '../../../ui/ActionButton';
import { clearedSentence } from '../announcements';
import type { Config } from '../api';
import type { CountersView } from './counters';
import { CounterList } from './CounterList';
import type { ClearView } from './useClear';
import '../Instrument.css';
import './Inventory.css';

interface Props {
  readonly counters: CountersView;
  readonly config: Config;
  readonly clear: ClearView;
  readonly onClear: () => void;
  readonly onConnect: () => void;
}

export function Inventory({ counters, config, clear, onClear, onConnect }: Props) {
  const reachable = counters.kind === 'live' || counters.kind === 'nothing-counted';
  const resting = !reachable || !config.cacheEnabled || clear.kind === 'running';
  return (
    <section className="instrument inventory" aria-labelledby="inventory-title">
      <header className="instrument-head">
        <h2 id="inventory-title">In the larder</h2>
        <span className={`inventory-link inventory-link-${counters.kind}`}>{LINK_WORDS[counters.kind]}</span>
      </header>
      <CounterList view={counters} />
      <div className="inventory-actions">
        <ActionButton describedBy="inventory-hint" resting={resting} onPress={onClear}>
          {clear.kind === 'running' ? 'Clearing…' : 'Clear the cache'}
        </ActionButton>
        {counters.kind === 'closed' ? <ActionButton onPress={onConnect}>Connect again</ActionButton> : null}
      </div>
      <p id="inventory-hint" className="instrument-text">
        {hint(counters, config, clear)}
      </p>
    </section>
  );
}

const LINK_WORDS: Readonly<Record<CountersView['kind'], string>> = {
  connecting: 'connecting…',
  live: 'live',
  'nothing-counted': 'live',
  lost: 'connection lost, trying again',
  closed: 'not connected',
};

function hint(counters: CountersView, { consoleUrl, cacheEnabled }: Config, clear: ClearView): string {
  if (counters.kind === 'connecting') return 'Counting and clearing go through the console; connecting to it.';
  if (counters.kind === 'lost' || counters.kind === 'closed') {
    return `Counting and clearing go through the console at ${consoleUrl}, which cannot be reached from here. Reading goes on without it.`;
  }
  if (!cacheEnabled) return 'The cache is off, so there is nothing to count or to clear.';
  switch (clear.kind) {
    case 'idle':
      return '';
    case 'running':
      return 'Clearing…';
    case 'done':
      return clearedSentence(clear.purged);
    case 'failed':
      return `${clear.problem.title}. ${clear.problem.advice}`;
  }
}
