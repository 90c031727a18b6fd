// In which themes and at which widths pages are looked at. Each width in one theme, and both themes; with
// EVERY_APPEARANCE=1 each width in both, which takes twice as long.

/** @typedef {{ colorScheme: 'light' | 'dark', size: string, viewport: { width: number, height: number } }} Appearance */

const SIZES = [
  { size: '360', viewport: { width: 360, height: 740 } },
  { size: '768', viewport: { width: 768, height: 1024 } },
  { size: '1440', viewport: { width: 1440, height: 900 } },
];

/**
 * The themes alternate, beginning with `first`: pages that begin otherwise are together seen in all.
 * @param {'light' | 'dark'} first
 * @returns {Appearance[]}
 */
export function appearances(first) {
  /** @type {'light' | 'dark'} */
  const other = first === 'light' ? 'dark' : 'light';
  const isEvery = process.env.EVERY_APPEARANCE === '1';
  return SIZES.flatMap((size, place) => {
    /** @type {('light' | 'dark')[]} */
    const themes = place % 2 === 0 ? [first, other] : [other, first];
    return themes.slice(0, isEvery ? 2 : 1).map((colorScheme) => ({ colorScheme, ...size }));
  });
}
