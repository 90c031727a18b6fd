// How far each tier is with a purge, from the inside out.
import { MarkSign } from '../../../ui/MarkSign';
import type { Story, TierState } from '../api/purges';
import { tierWords } from '../words/tiers';
import './TierList.css';

interface Props {
  readonly tiers: Story['tiers'];
}

export function TierList({ tiers }: Props) {
  return (
    <ol className="tiers">
      <Tier name="memory" tier={tiers.memory} />
      {tiers.shared === null ? null : <Tier name="shared" tier={tiers.shared} />}
      {tiers.cdn.map(({ name, state, reason }) => (
        <Tier key={name} name={name} tier={{ tier: name, state, reason, by: null, of: null, missing: [] }} />
      ))}
    </ol>
  );
}

interface TierProps {
  readonly name: string;
  readonly tier: TierState;
}

function Tier({ name, tier }: TierProps) {
  const { by, of, missing, reason } = tier;
  const { word, mark } = tierWords(tier);
  // One of one is no news.
  const parts = by === null || of === null || of <= 1 ? '' : ` in ${by} of ${of}`;
  return (
    <li className={`mark-${mark}`}>
      <MarkSign mark={mark} /> {name}{' '}
      <span className="soft">
        {word}
        {parts}
        {missing.length === 0 ? '' : `, silent: ${missing.join(', ')}`}
        {reason === null ? '' : `: ${reason}`}
      </span>
    </li>
  );
}
