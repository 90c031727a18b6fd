// In which themes and at which widths pages are looked at. Each width in one theme, and both themes; with
// EVERY_APPEARANCE=1 each width in both, and the widest as well, which takes three times as long.

/** @typedef {{ colorScheme: 'light' | 'dark', size: string, viewport: { width: number, height: number } }} Appearance */

const SIZES = [
  { size: '360', viewport: { width: 360, height: 740 } },
  { size: '768', viewport: { width: 768, height: 1024 } },
  { size: '1440', viewport: { width: 1440, height: 900 } },
];
const WIDEST = { size: '1920', viewport: { width: 1920, height: 1080 } };
const IS_EVERY = process.env.EVERY_APPEARANCE === '1';

/**
 * The themes alternate, beginning with `first`: pages that begin otherwise are together seen in all.
 * @param {'light' | 'dark'} first
 * @returns {Appearance[]}
 */
export function appearances(first) {
  /** @type {'light' | 'dark'} */
  const other = first === 'light' ? 'dark' : 'light';
  return [...SIZES, ...(IS_EVERY ? [WIDEST] : [])].flatMap((size, place) => {
    /** @type {('light' | 'dark')[]} */
    const themes = place % 2 === 0 ? [first, other] : [other, first];
    return themes.slice(0, IS_EVERY ? 2 : 1).map((colorScheme) => ({ colorScheme, ...size }));
  });
}

/**
 * One of all for the page at this place among others, so that they are together seen at each width and in both themes; with
 * EVERY_APPEARANCE=1 all.
 * @param {number} place
 * @returns {Appearance[]}
 */
export function diagonal(place) {
  const all = [...SIZES, WIDEST].flatMap((size) => /** @type {const} */ (['light', 'dark']).map((colorScheme) => ({ colorScheme, ...size })));
  // Three has no divisor in common with eight.
  return IS_EVERY ? all : all.slice((place * 3) % all.length).slice(0, 1);
}
