// Spells in which something failed: seconds that follow each other closely are one.
import type { Sample } from '../api/samples';

export interface Spell {
  readonly from: number;
  readonly to: number;
  readonly failures: number;
  readonly calls: number;
  readonly errors: number;
  readonly refused: number;
}

/** So many quiet seconds end a spell. */
const QUIET_SECONDS = 10;
const MOST_SPELLS = 6;

/** The newest first. */
export function spellsOf(samples: readonly Sample[]): readonly Spell[] {
  const spells: Spell[] = [];
  for (const { second, origin_failures, origin_calls, reader_errors, refused } of samples) {
    const open = spells.at(-1);
    const isGoingOn = open !== undefined && second - open.to <= QUIET_SECONDS;
    if (origin_failures === 0 && refused === 0) continue;
    const one = { from: second, to: second, failures: origin_failures, calls: origin_calls, errors: reader_errors, refused };
    if (!isGoingOn) spells.push(one);
    else {
      spells[spells.length - 1] = {
        from: open.from,
        to: second,
        failures: open.failures + one.failures,
        calls: open.calls + one.calls,
        errors: open.errors + one.errors,
        refused: open.refused + one.refused,
      };
    }
  }
  return spells.slice(-MOST_SPELLS).toReversed();
}
