// Another larder.toml to compare with: pasted, or read from a file.

export interface OtherRules {
  readonly text: string;
  /** What its file is called; `null`: it was pasted, or changed since. */
  readonly file: string | null;
}

export const NO_RULES: OtherRules = { text: '', file: null };

/** A server takes this much in one question, and the text is most of it. */
const MOST_BYTES = 500 * 1024;

/** `null`: it may be sent. */
export function tooLarge(bytes: number): string | null {
  return bytes <= MOST_BYTES ? null : 'That is larger than a server takes: 500 KiB at most.';
}

/** Why the server did not compare, from its own words. */
export function refusalOf(said: string): { readonly title: string; readonly advice: string } {
  if (said.includes('has no configuration')) {
    return {
      title: 'There is no file to compare with here',
      advice: 'The rules of this cache are in its application’s code. A gateway (`larder serve`) has a `larder.toml`.',
    };
  }
  return { title: 'These rules are not understood', advice: 'Mend what is named below: it is looked at again at once.' };
}
