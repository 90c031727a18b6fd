// The two switches of the cache, and in one sentence what they come to.
import { Switch } from '../../../ui/Switch';
import type { Rules, SwitchName } from '../api';
import { CACHE_IS_OFF, rulesSentence } from './rulesWords';
import { rulesOf } from './useRules';
import type { RulesView } from './useRules';
import '../../../ui/Instrument.css';
import './RulesPanel.css';

interface Props {
  readonly view: RulesView;
  /** What the cache began as, until it is told what it is. */
  readonly enabledAtFirst: boolean;
  readonly onSwitch: (name: SwitchName, on: boolean) => void;
}

export function RulesPanel({ view, enabledAtFirst, onSwitch }: Props) {
  const rules = rulesOf(view);
  const enabled = rules?.enabled ?? enabledAtFirst;
  const resting = view.kind !== 'live' || view.changing;
  return (
    <section id="rules" className="instrument rules" aria-label="The cache">
      <div className="rules-switches">
        <Switch
          label="Cache"
          on={enabled}
          resting={resting}
          describedBy="rules-sentence"
          onSwitch={(on) => onSwitch('enabled', on)}
        />
        <Switch
          label="Stale while revalidate"
          on={rules?.stale_while_revalidate ?? false}
          resting={resting || !canBeStale(rules)}
          describedBy="rules-sentence"
          onSwitch={(on) => onSwitch('stale_while_revalidate', on)}
        />
      </div>
      <p id="rules-sentence" className="instrument-text rules-sentence figures">
        {enabled ? null : <strong>{CACHE_IS_OFF}</strong>} {sentence(view)}
      </p>
    </section>
  );
}

function canBeStale(rules: Rules | null): boolean {
  return rules !== null && rules.stale_while_revalidate_seconds > 0;
}

function sentence(view: RulesView): string {
  switch (view.kind) {
    case 'unknown':
      return 'Asking the backend what it keeps, and for how long…';
    case 'lost':
      return 'The backend does not say what it keeps, so nothing can be switched now.';
    case 'live':
      return view.problem === null ? rulesSentence(view.rules) : `${view.problem.title}. ${view.problem.advice}`;
  }
}
