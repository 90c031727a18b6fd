// Long text is cut in its middle: its end tells it from its neighbours.

/** Some lines of it: whatever is usual stays whole. */
const MOST_CHARACTERS = 300;
const START = 160;
const END = 60;

/** In code points, so that no letter is cut in half. `null`: it is not long. */
export function cutLong(text: string): { readonly cut: string; readonly characters: number } | null {
  if (text.length <= MOST_CHARACTERS) return null;
  const letters = Array.from(text);
  return { cut: `${letters.slice(0, START).join('')}…${letters.slice(-END).join('')}`, characters: letters.length };
}
