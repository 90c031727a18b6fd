// From `unknown` to our types: the only place where a type is claimed, right after it was proved.

/** Gives the value back typed, or throws `Undecodable`. `path` says where in the answer it stands. */
export interface Decoder<T> {
  (value: unknown, path: string): T;
  /** What it reads, for whoever compares that with a description: fields of an object, or the items of a list. */
  readonly reads?: Reads;
}

export type Reads =
  | { readonly kind: 'fields'; readonly fields: Readonly<Record<string, Decoder<unknown>>> }
  | { readonly kind: 'items'; readonly items: readonly Decoder<unknown>[] }
  | { readonly kind: 'values'; readonly values: Decoder<unknown> };

function reading<T>(decode: (value: unknown, path: string) => T, reads: Reads | undefined): Decoder<T> {
  return reads === undefined ? decode : Object.assign(decode, { reads });
}

export type Decoded<D> = D extends Decoder<infer T> ? T : never;

export class Undecodable extends Error {
  override readonly name = 'Undecodable';

  constructor(path: string, wanted: string) {
    super(`${path || 'the answer'} is not ${wanted}`);
  }
}

export const text: Decoder<string> = (value, path) => {
  if (typeof value !== 'string') throw new Undecodable(path, 'a text');
  return value;
};

export const flag: Decoder<boolean> = (value, path) => {
  if (typeof value !== 'boolean') throw new Undecodable(path, 'true or false');
  return value;
};

/** A measured quantity: finite and never below zero. */
export const amount: Decoder<number> = (value, path) => {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw new Undecodable(path, 'a number of zero or more');
  }
  return value;
};

/** A measured quantity that may be below zero: a time that is over, say. */
export const signed: Decoder<number> = (value, path) => {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw new Undecodable(path, 'a number');
  return value;
};

export const integer: Decoder<number> = (value, path) => {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
    throw new Undecodable(path, 'a whole number');
  }
  return value;
};

/** A whole number of zero or more. */
export const count: Decoder<number> = (value, path) => {
  const number = integer(value, path);
  if (number < 0) throw new Undecodable(path, 'zero or more');
  return number;
};

/** A point in time, ISO 8601. Microseconds are cut to what a `Date` can hold. */
export const instant: Decoder<Date> = (value, path) => {
  const date = new Date(text(value, path));
  if (Number.isNaN(date.getTime())) throw new Undecodable(path, 'a point in time');
  return date;
};

export function list<T>(item: Decoder<T>): Decoder<readonly T[]> {
  return reading((value, path) => {
    if (!Array.isArray(value)) throw new Undecodable(path, 'a list');
    return value.map((element: unknown, index) => item(element, `${path}[${index}]`));
  }, { kind: 'items', items: [item] });
}

/** Exactly two. */
export function pair<A, B>(first: Decoder<A>, second: Decoder<B>): Decoder<readonly [A, B]> {
  return reading((value, path) => {
    if (!Array.isArray(value) || value.length !== 2) throw new Undecodable(path, 'a pair');
    return [first(value[0], `${path}[0]`), second(value[1], `${path}[1]`)];
  }, { kind: 'items', items: [first, second] });
}

/** An object whose names are not known beforehand, in its order. */
export function entriesOf<T>(item: Decoder<T>): Decoder<readonly (readonly [string, T])[]> {
  return reading((value, path) => {
    if (!isRecord(value)) throw new Undecodable(path, 'an object');
    return Object.entries(value).map(([name, element]) => [name, item(element, `${path}.${name}`)] as const);
  }, { kind: 'values', values: item });
}

/** For a field that says nothing by being `null`, or by not being there. */
export function optional<T>(decode: Decoder<T>): Decoder<T | null> {
  return reading((value, path) => (value === null || value === undefined ? null : decode(value, path)), decode.reads);
}

/** For a field that says nothing by being `null`. */
export function nullable<T>(decode: Decoder<T>): Decoder<T | null> {
  return reading((value, path) => (value === null ? null : decode(value, path)), decode.reads);
}

/** One of a few words. */
export function oneOf<const T extends string>(...words: readonly T[]): Decoder<T> {
  return (value, path) => {
    const word = words.find((known) => known === value);
    if (word === undefined) throw new Undecodable(path, `one of ${words.join(', ')}`);
    return word;
  };
}

/** For a field that an older server does not send. */
export function orElse<T>(decode: Decoder<T>, absent: T): Decoder<T> {
  return reading((value, path) => (value === undefined ? absent : decode(value, path)), decode.reads);
}

/** An object with at least these fields; others are ignored, so that a server may grow new ones. */
export function shape<const S extends Record<string, Decoder<unknown>>>(
  fields: S,
): Decoder<{ readonly [K in keyof S]: Decoded<S[K]> }> {
  return reading((value, path) => {
    if (!isRecord(value)) throw new Undecodable(path, 'an object');
    const decoded = Object.entries(fields).map(([name, decode]) => [
      name,
      decode(value[name], path ? `${path}.${name}` : name),
    ]);
    return Object.fromEntries(decoded) as { readonly [K in keyof S]: Decoded<S[K]> };
  }, { kind: 'fields', fields });
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
