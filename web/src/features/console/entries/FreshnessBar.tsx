// For how long an entry is of use, and where in that it is now; in words beside the picture.
import { span } from '../../../ui/format';
import type { Freshness } from '../api/entries';
import { barOf } from './freshnessBar';
import { freshnessWords } from './freshnessWords';
import './FreshnessBar.css';

interface Props {
  readonly freshness: Freshness;
  /** Names and lengths of its parts under it. */
  readonly isLarge?: boolean;
}

const NAMES = { fresh: 'fresh', 'stale-usable': 'stale, still served', rescue: 'rescue, if the origin fails' } as const;

export function FreshnessBar({ freshness, isLarge = false }: Props) {
  const bar = barOf(freshness);
  return (
    <div className={isLarge ? 'freshness freshness-large' : 'freshness'}>
      {bar === null ? null : (
        <div className={['over', 'purged'].includes(freshness.state) ? 'freshness-bar freshness-past' : 'freshness-bar'} aria-hidden="true">
          {bar.parts.map(({ name, share }) => (
            <i key={name} className={`freshness-${name}`} style={{ flexGrow: share }} />
          ))}
          <b style={{ insetInlineStart: `${bar.at * 100}%` }} />
        </div>
      )}
      <span className="figures">{freshnessWords(freshness)}</span>
      {!isLarge || bar === null ? null : (
        <ul className="plain-list freshness-parts soft">
          {bar.parts.map(({ name, seconds }) => (
            <li key={name}>
              <i className={`freshness-${name}`} aria-hidden="true" /> {NAMES[name]}: {span(seconds)}
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
