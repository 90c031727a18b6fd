// What failed in a stretch of time.
import { clockTime, plural, wholeNumber } from '../../../ui/format';
import type { Sample } from '../api/samples';
import { spellsOf } from './failures';
import type { Spell } from './failures';

interface Props {
  readonly samples: readonly Sample[];
}

export function Failures({ samples }: Props) {
  const spells = spellsOf(samples);
  return (
    <section className="part" aria-labelledby="failures-title">
      <header className="part-head">
        <h2 id="failures-title">What failed</h2>
      </header>
      {spells.length === 0 ? (
        <p className="soft">Nothing.</p>
      ) : (
        <ul className="plain-list rows">
          {spells.map((spell) => (
            <li key={spell.from}>
              <span className="figures">{timeOf(spell)}</span> {wordsOf(spell)}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}

function timeOf({ from, to }: Spell): string {
  const [start, end] = [from, to].map((second) => clockTime(new Date(second * 1000)));
  return start === end ? `${start}` : `${start} to ${end}`;
}

function wordsOf({ failures, calls, errors, refused }: Spell): string {
  const parts = [
    failures > 0 ? `${wholeNumber(failures)} of ${plural(Math.max(calls, failures), 'call', 'calls')} of the origin failed` : null,
    errors > 0 ? `${plural(errors, 'reader', 'readers')} got an error` : null,
    refused > 0 ? `${plural(refused, 'request was', 'requests were')} refused` : null,
  ];
  return `${parts.filter((part) => part !== null).join(', ')}.`;
}
