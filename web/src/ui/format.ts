// Numbers, times and sizes as the page prints them. A no-break space keeps each with its unit.

/** Milliseconds without the unit: `3.2`, `47`, `2004`. Below ten, the tenth is what differs. */
export function millisDigits(ms: number): string {
  return ms < 9.95 ? ms.toFixed(1) : String(Math.round(ms));
}

export function millis(ms: number): string {
  return `${millisDigits(ms)}\u00a0ms`;
}

/** An age or a time to live: `3 s`, `4 min`, `2 h`. */
export function seconds(value: number): string {
  if (value < 120) return `${value}\u00a0s`;
  if (value < 7200) return `${Math.round(value / 60)}\u00a0min`;
  return `${Math.round(value / 3600)}\u00a0h`;
}

/** A time that was set, exactly: `90 s`, `5 min`, `1 h`. */
export function duration(value: number): string {
  const [size, unit] = DURATIONS.find(([size]) => value >= size && value % size === 0) ?? [1, 's'];
  return `${wholeNumber(value / size)}\u00a0${unit}`;
}
const DURATIONS = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
] as const;

/** A share: `80 %`. All and nothing are said of nothing less. */
export function percent(share: number): string {
  const value = share * 100;
  if (value > 99 && value < 100) return `${(Math.floor(value * 10) / 10).toFixed(1)}\u00a0%`;
  if (value > 0 && value < 1) return `${(Math.ceil(value * 10) / 10).toFixed(1)}\u00a0%`;
  return `${Math.round(value)}\u00a0%`;
}

/** A delay in a sentence: `two seconds`, `0.3 seconds`. */
export function inWords(ms: number): string {
  const whole = WORDS[ms / 1000];
  if (whole !== undefined) return `${whole} ${ms === 1000 ? 'second' : 'seconds'}`;
  return `${Number((ms / 1000).toFixed(2))} seconds`;
}
const WORDS = ['no', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];

export function bytes(value: number): string {
  if (value < 1024) return `${value}\u00a0B`;
  const exponent = Math.min(Math.floor(Math.log2(value) / 10), UNITS.length);
  const scaled = value / 1024 ** exponent;
  const digits = scaled < 10 && !Number.isInteger(scaled) ? scaled.toFixed(1) : String(Math.round(scaled));
  return `${digits}\u00a0${UNITS[exponent - 1] ?? ''}`;
}
const UNITS = ['KiB', 'MiB', 'GiB', 'TiB'];

export function wholeNumber(value: number): string {
  return GROUPED.format(value);
}
const GROUPED = new Intl.NumberFormat('en');

/** In UTC, so that a post has one date wherever it is read. */
export function day(date: Date): string {
  return DAY.format(date);
}
const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'long', timeZone: 'UTC' });

export function clockTime(date: Date): string {
  return CLOCK.format(date);
}
const CLOCK = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/** By the clock of whoever looks, with the day: what began long ago has one. */
export function moment(date: Date): string {
  return MOMENT.format(date);
}
const MOMENT = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

export function plural(count: number, one: string, many: string): string {
  return `${wholeNumber(count)} ${count === 1 ? one : many}`;
}

/** Paragraphs are separated by blank lines; single line breaks within one are the typist's. */
export function paragraphs(content: string): readonly string[] {
  return content
    .split(/\r?\n[ \t]*(?:\r?\n[ \t]*)+/)
    .map((paragraph) => paragraph.trim())
    .filter((paragraph) => paragraph !== '');
}

/** How long something took or will take, from microseconds to days: `0.4 ms`, `38 ms`, `2.3 s`, `14 min`, `3 h`, `6 d`. */
export function span(seconds: number): string {
  const size = Math.abs(seconds);
  if (size === 0) return '0\u00a0s';
  if (size < 0.9995) return millis(seconds * 1000);
  if (size < 9.95) return `${seconds.toFixed(1)}\u00a0s`;
  if (size < 119.5) return `${Math.round(seconds)}\u00a0s`;
  if (size < 7170) return `${Math.round(seconds / 60)}\u00a0min`;
  if (size < 172_000) return `${Math.round(seconds / 3600)}\u00a0h`;
  return `${wholeNumber(Math.round(seconds / 86_400))}\u00a0d`;
}

/** A number of things in a second: tenths where there are few, and of what is seldom the first digit: it is not nothing. */
export function perSecond(value: number): string {
  if (value > 0 && value < 0.095) return value < 0.0005 ? '<0.001' : String(Number(value.toPrecision(1)));
  return value > 0 && value < 9.95 ? value.toFixed(1) : wholeNumber(Math.round(value));
}

/** A number where there is little room: `999`, `12.3 k`, `4.6 M`. */
export function short(value: number): string {
  if (value < 9999.5) return wholeNumber(Math.round(value));
  const [size, unit] = SIZES.find(([, , below]) => value < below) ?? SIZES[2];
  const scaled = value / size;
  return `${scaled < 99.95 ? scaled.toFixed(1) : String(Math.round(scaled))}\u00a0${unit}`;
}

const SIZES = [
  [1e3, 'k', 999_950],
  [1e6, 'M', 999_950_000],
  [1e9, 'G', Infinity],
] as const;

/** How long ago that was, as far as this machine's clock and the server's agree. */
export function ago(then: Date, now: number): string {
  return `${span(Math.max(0, Math.round((now - then.getTime()) / 1000)))} ago`;
}
