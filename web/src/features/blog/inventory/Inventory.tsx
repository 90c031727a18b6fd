// What is in the larder, counted live by the cache itself, and the buttons that empty it or end its time.
import { ActionButton } from '../../../ui/ActionButton';
import { clearedSentence } from '../announcements';
import type { Config, PurgeMode } from '../api';
import type { CountersView } from './counters';
import { CounterList } from './CounterList';
import type { ClearView } from './useClear';
import '../../../ui/Instrument.css';
import './Inventory.css';

interface Props {
  readonly counters: CountersView;
  readonly config: Config;
  readonly cacheEnabled: boolean;
  readonly clear: ClearView;
  readonly onClear: (mode: PurgeMode) => void;
  readonly onConnect: () => void;
}

export function Inventory({ counters, config, cacheEnabled, clear, onClear, onConnect }: Props) {
  const reachable = counters.kind === 'live' || counters.kind === 'nothing-counted';
  const resting = !reachable || clear.kind === 'running';
  return (
    <section id="inventory" className="instrument inventory" aria-labelledby="inventory-title">
      <header className="instrument-head">
        <h2 id="inventory-title">In the larder</h2>
        <span className={`inventory-link inventory-link-${counters.kind}`}>{LINK_WORDS[counters.kind]}</span>
      </header>
      <CounterList view={counters} />
      <div className="inventory-actions">
        <ActionButton describedBy="inventory-hint" resting={resting} onPress={() => onClear('hard')}>
          Clear the cache
        </ActionButton>
        <ActionButton describedBy="inventory-hint" resting={resting} onPress={() => onClear('soft')}>
          Let all expire
        </ActionButton>
        {counters.kind === 'closed' ? <ActionButton onPress={onConnect}>Connect again</ActionButton> : null}
      </div>
      <p className="instrument-text">
        <a href={`${config.consoleUrl}/`}>The console</a> shows more of it: what each request costs, and why.
      </p>
      <p id="inventory-hint" className="instrument-text">
        {hint(counters, config, cacheEnabled, clear)}
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

function hint(counters: CountersView, { consoleUrl }: Config, cacheEnabled: boolean, clear: ClearView): string {
  if (counters.kind === 'connecting') return 'Counting and clearing go through the console; connecting to it.';
  if (counters.kind === 'lost' || counters.kind === 'closed') {
    return `Counting and clearing go through the console at ${consoleUrl}, which cannot be reached from here. Reading goes on without it.`;
  }
  switch (clear.kind) {
    case 'idle':
      return cacheEnabled ? '' : 'The cache is off: loads go past it, and are not counted here.';
    case 'running':
      return 'On its way…';
    case 'done':
      return clearedSentence(clear);
    case 'failed':
      return `${clear.problem.title}. ${clear.problem.advice}`;
  }
}
