// Entries that differ in one parameter alone, in words, and what would keep one of each.
import { bytes, plural, wholeNumber } from '../../../ui/format';
import type { CopiesOf } from '../api/copies';
import { denyWords } from './deny';

/** Fewer are no reason to change anything. */
const LEAST_SPARE = 10;

export interface CopiesWords {
  /** Keys between backticks. */
  readonly says: string;
  readonly remedy: string;
}

export function isWorthTelling({ entries, pages }: CopiesOf): boolean {
  return entries - pages >= LEAST_SPARE;
}

export function copiesWords({ parameter, is_tracking, entries, pages, spare_bytes, most }: CopiesOf): CopiesWords {
  const what =
    pages === 1
      ? `The same page ${wholeNumber(entries)} times`
      : `${plural(pages, 'page', 'pages')} in ${wholeNumber(entries)} entries, one of them ${wholeNumber(most.entries)} times`;
  const { line, beside } = denyWords([is_tracking ? 'tracking' : parameter]);
  return {
    says: `${what}: they differ only in \`${parameter}\`. One of each would free ${bytes(spare_bytes)}.`,
    remedy: is_tracking
      ? `By its name it is for advertisements, on which answers seldom depend; compare two of them. Then ${line} leaves it and its kin out of the key. ${beside}`
      : `If the answer does not depend on it, leave it out of the key: ${line}. ${beside}`,
  };
}
