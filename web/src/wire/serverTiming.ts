// Where an answer's time went, as the server tells it: `Server-Timing: cache;dur=0.1, origin;dur=2003`.

/** Milliseconds by metric name; a metric without a duration, or with a nonsensical one, is left out. */
export function readServerTiming(field: string | null): ReadonlyMap<string, number> {
  const durations = new Map<string, number>();
  for (const metric of splitOutsideQuotes(field ?? '', ',')) {
    const [name, ...params] = splitOutsideQuotes(metric, ';').map((part) => part.trim());
    for (const param of params) {
      const duration = /^dur\s*=\s*"?(\d+(?:\.\d+)?)"?$/i.exec(param)?.[1];
      if (name && duration !== undefined) durations.set(name, Number(duration));
    }
  }
  return durations;
}

/** A description may hold any character, `cache;desc="a, b; c"`, so quotes must be respected. */
function splitOutsideQuotes(text: string, separator: ',' | ';'): readonly string[] {
  const parts: string[] = [];
  let part = '';
  let quoted = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text.charAt(at);
    if (char === separator && !quoted) {
      parts.push(part);
      part = '';
      continue;
    }
    if (char === '"') quoted = !quoted;
    part += char;
    // An escaped quote closes nothing.
    if (quoted && char === '\\') part += text.charAt(++at);
  }
  return [...parts, part];
}
