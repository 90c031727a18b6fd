// Lists of structured field values (RFC 9651 §4.2.1): what Cache-Status is written in.

export type BareItem = string | number | boolean;

export interface Item {
  readonly value: BareItem;
  readonly params: ReadonlyMap<string, BareItem>;
}

/**
 * The members of a list, in order. `null` when any part of the text is malformed: §4.2 asks that such a
 * field be ignored as a whole, for half of a sentence may say the opposite of all of it.
 *
 * Tokens, strings and byte sequences all become text, dates become numbers. Inner lists are not read.
 */
export function parseList(text: string): readonly Item[] | null {
  const input = new Cursor(text);
  input.take(SPACES);
  if (input.isDone()) return [];

  const members: Item[] = [];
  for (;;) {
    const member = parseItem(input);
    if (member === null) return null;
    members.push(member);

    input.take(BLANKS);
    if (input.isDone()) return members;
    if (input.take(COMMA) === null) return null;
    input.take(BLANKS);
    // A trailing comma leaves no member here, and parseItem refuses it.
  }
}

function parseItem(input: Cursor): Item | null {
  const value = parseBareItem(input);
  if (value === null) return null;

  const params = new Map<string, BareItem>();
  while (input.take(SEMICOLON) !== null) {
    input.take(SPACES);
    const name = input.take(KEY);
    if (name === null) return null;
    // A parameter without a value is true (§4.2.3.2); of two with one name, the later counts.
    const given = input.take(EQUALS) === null ? true : parseBareItem(input);
    if (given === null) return null;
    params.set(name, given);
  }
  return { value, params };
}

function parseBareItem(input: Cursor): BareItem | null {
  const quoted = input.take(STRING);
  if (quoted !== null) return quoted.slice(1, -1).replace(/\\(["\\])/g, '$1');

  const number = input.take(NUMBER) ?? input.take(DATE)?.slice(1) ?? null;
  if (number !== null) return Number(number);

  const flag = input.take(BOOLEAN);
  if (flag !== null) return flag === '?1';

  const bytes = input.take(BYTES);
  if (bytes !== null) return bytes.slice(1, -1);

  return input.take(TOKEN);
}

class Cursor {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  isDone(): boolean {
    return this.#at >= this.#text.length;
  }

  /** The text that `pattern` matches right here, which is then behind us. */
  take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0] ?? null;
    if (found !== null) this.#at += found.length;
    return found;
  }
}

const SPACES = / */y;
const BLANKS = /[ \t]*/y;
const COMMA = /,/y;
const SEMICOLON = /;/y;
const EQUALS = /=/y;
const KEY = /[a-z*][a-z0-9_\-.*]*/y;
const TOKEN = /[A-Za-z*][\w!#$%&'*+\-.^`|~:/]*/y;
const STRING = /"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"/y;
const NUMBER = /-?(?:\d{1,12}\.\d{1,3}(?!\d)|\d{1,15}(?![\d.]))/y;
const DATE = /@-?\d{1,15}(?![\d.])/y;
const BOOLEAN = /\?[01]/y;
const BYTES = /:[A-Za-z0-9+/]*={0,2}:/y;
