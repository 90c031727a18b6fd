// A purge in a line or two: what, how, when, by whom, and how far.
import { ago } from '../../../ui/format';
import { LongText } from '../../../ui/LongText';
import type { Story } from '../api/purges';
import { hrefOf } from '../place';
import { TierList } from './TierList';

interface Props {
  readonly story: Story;
  readonly now: number;
}

export function StoryRow({ story: { what, purges, mode, at, by, tiers }, now }: Props) {
  const more = purges - what.length;
  return (
    <>
      <span className="mono breaks">
        <LongText text={what.join(', ')} />
        {more > 0 ? ` and ${more} more` : ''}
      </span>{' '}
      <span className="soft">
        {mode}, {ago(new Date(at), now)}
        {by === '' ? '' : `, ${by}`}
      </span>{' '}
      {mode === 'hard' ? (
        <a href={hrefOf('entries', { show: 'gone', by: purges === 1 ? (what[0] ?? null) : null })} className="soft">
          What went
        </a>
      ) : null}
      <TierList tiers={tiers} />
    </>
  );
}
