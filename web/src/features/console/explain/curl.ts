// A request out of what somebody pastes: a URL, a line of curl as browsers copy it, or the id of a request that was answered.
import type { Request } from '../api/explain';

export type Pasted =
  | { readonly kind: 'nothing' }
  /** `leftOut`: what of the line changes nothing here, or is not known. */
  | { readonly kind: 'request'; readonly request: Request; readonly leftOut: readonly string[] }
  /** One that was answered, by its `Larder-Request`. */
  | { readonly kind: 'past'; readonly id: string }
  | { readonly kind: 'unreadable'; readonly why: string };

/** Longer than any request that a server takes. */
const MOST_CHARACTERS = 65_536;

export function readPasted(text: string): Pasted {
  const line = text.trim();
  if (line === '') return { kind: 'nothing' };
  if (line.length > MOST_CHARACTERS) return { kind: 'unreadable', why: 'That is longer than any request.' };
  const [, id] = /^(?:larder-request:\s*)?([0-9a-f]{32})$/i.exec(line) ?? [];
  if (id !== undefined) return { kind: 'past', id: id.toLowerCase() };
  if (!/^(?:\$\s*)?curl(?:\.exe)?\s/.test(line)) {
    const url = urlOf(line);
    if (url === null) {
      const why = line.startsWith('/')
        ? 'That is a path alone: put scheme and host before it, as in http://www.example.org/me.'
        : 'That is neither a URL, nor a line that begins with curl, nor the id of a request.';
      return { kind: 'unreadable', why };
    }
    return { kind: 'request', request: { method: 'GET', url, headers: [] }, leftOut: [] };
  }
  const words = wordsOf(line.replace(/^\$\s*/, ''));
  if (words === null) return { kind: 'unreadable', why: 'A quotation mark is left open.' };
  return readCurl(words.slice(1));
}

/** Options with a value that say nothing about the request itself. */
const VALUED = new Set([
  ...['-o', '--output', '-m', '--max-time', '--connect-timeout', '-w', '--write-out', '--resolve', '--cacert', '--cert'],
  ...['-E', '--key', '-x', '--proxy', '--retry', '--retry-delay', '-c', '--cookie-jar', '-D', '--dump-header', '--limit-rate'],
  ...['-K', '--config', '--interface', '--connect-to', '--max-redirs', '-Y', '-y', '-z', '--ciphers', '--tls-max'],
]);

const LONG: Readonly<Record<string, string>> = {
  '--request': '-X',
  '--header': '-H',
  '--cookie': '-b',
  '--user-agent': '-A',
  '--referer': '-e',
  '--user': '-u',
  '--head': '-I',
  '--get': '-G',
  '--data': '-d',
  '--data-raw': '-d',
  '--data-ascii': '-d',
  '--data-binary': '-d',
  '--data-urlencode': '-d',
  '--form': '-F',
  '--upload-file': '-T',
};

/** Of one letter, those with a value. */
const SHORT_VALUED = 'XHbAeudFTomwxEcDKYyzr';

function readCurl(words: readonly string[]): Pasted {
  const headers: [string, string][] = [];
  const leftOut: string[] = [];
  let method: string | null = null;
  let url: string | null = null;
  let hasBody = false;
  let isHead = false;
  let isGet = false;
  const rest = [...words];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    let name = word;
    let joined: string | null = null;
    if (/^--[^=]+=/.test(word)) [name, joined] = [word.replace(/=[^]*/, ''), word.replace(/^[^=]*=/, '')];
    name = LONG[name] ?? name;
    if (/^-[^-]./.test(word)) {
      // `-sI`, `-XPOST`: letters without a value, and at most one that takes all the rest.
      const letter = word.charAt(1);
      name = `-${letter}`;
      if (SHORT_VALUED.includes(letter)) joined = word.slice(2);
      else rest.unshift(`-${word.slice(2)}`);
    }
    const value = () => joined ?? rest.shift() ?? '';
    switch (name) {
      case '-X':
        method = value().toUpperCase();
        break;
      case '-H': {
        const [field, told] = splitHeader(value());
        if (field !== '') headers.push([field, told]);
        break;
      }
      case '-b': {
        const cookie = value();
        // Without a sign between it is the name of a file, which is not here.
        if (cookie.includes('=')) headers.push(['cookie', cookie]);
        else leftOut.push(`the cookies in ${cookie}`);
        break;
      }
      case '-A':
        headers.push(['user-agent', value()]);
        break;
      case '-e':
        headers.push(['referer', value()]);
        break;
      case '-u':
        headers.push(['authorization', `Basic ${btoa(String.fromCodePoint(...new TextEncoder().encode(value())))}`]);
        break;
      case '--oauth2-bearer':
        headers.push(['authorization', `Bearer ${value()}`]);
        break;
      case '-d':
      case '-F':
      case '-T':
      case '--json':
        value();
        hasBody = true;
        break;
      case '-r':
      case '--range':
        headers.push(['range', `bytes=${value()}`]);
        break;
      case '-I':
        isHead = true;
        break;
      case '-G':
        isGet = true;
        break;
      case '--compressed':
        headers.push(['accept-encoding', 'deflate, gzip, br, zstd']);
        break;
      case '--url':
        url = value();
        break;
      default:
        if (VALUED.has(name)) {
          leftOut.push(`${name} ${value()}`);
        } else if (name.startsWith('-') && name.length > 1) {
          leftOut.push(name);
        } else if (name !== '-' && url === null) {
          url = name;
        } else if (name !== '-') {
          leftOut.push(name);
        }
    }
  }
  const whole = url === null ? null : urlOf(url);
  if (whole === null) return { kind: 'unreadable', why: 'The line names no URL.' };
  if (hasBody && !isGet) leftOut.push('the body: it is not looked at');
  const usual = isHead ? 'HEAD' : hasBody && !isGet ? 'POST' : 'GET';
  return { kind: 'request', request: { method: method ?? usual, url: whole, headers }, leftOut };
}

function splitHeader(text: string): readonly [string, string] {
  // `Name;` is curl's way to send an empty one, `Name:` to send none.
  const [, name = '', value = ''] = /^\s*([^:;\s]+)\s*[:;]\s*([^]*?)\s*$/.exec(text) ?? [];
  return value === '' && !text.trim().endsWith(';') ? ['', ''] : [name, value];
}

/** As curl takes it: without a scheme it is http. `null`: no URL at all. */
function urlOf(text: string): string | null {
  if (/\s/.test(text)) return null;
  const whole = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  const parsed = URL.parse(whole);
  if (parsed === null || !['http:', 'https:'].includes(parsed.protocol)) return null;
  // A word alone would be a host that nobody has.
  const isHost = parsed.hostname.includes('.') || parsed.hostname.includes(':') || parsed.hostname === 'localhost';
  return isHost || whole === text ? whole : null;
}

/** As a shell splits a line; `null` where a quotation mark is left open. */
export function wordsOf(line: string): readonly string[] | null {
  const words: string[] = [];
  let word: string | null = null;
  let at = 0;
  while (at < line.length) {
    const rest = line.slice(at);
    // A line's end after a backslash (or a caret, as Windows has it) is none.
    const joint = /^(?:\\|\^)\r?\n/.exec(rest);
    const space = /^\s+/.exec(rest);
    const single = /^'([^']*)'/.exec(rest);
    const ansi = /^\$'((?:[^'\\]|\\[^])*)'/.exec(rest);
    const double = /^"((?:[^"\\]|\\[^])*)"/.exec(rest);
    const plain = /^(?:\\[^]|[^\s'"\\])/.exec(rest);
    const found: readonly [RegExpExecArray, string | null] | null = joint
      ? [joint, null]
      : space
        ? [space, null]
        : ansi
          ? [ansi, unescaped(ansi[1] ?? '')]
          : single
            ? [single, single[1] ?? '']
            : double
              ? [double, (double[1] ?? '').replace(/\\\r?\n/g, '').replace(/\\(["\\$`])/g, '$1')]
              : plain
                ? [plain, plain[0].replace(/^\\/, '')]
                : null;
    if (found === null) return null;
    const [match, piece] = found;
    at += match[0].length;
    if (piece !== null) word = (word ?? '') + piece;
    else if (space && word !== null) {
      words.push(word);
      word = null;
    }
  }
  return word === null ? words : [...words, word];
}

/** What stands between `$'` and `'`. */
function unescaped(text: string): string {
  return text.replace(/\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([^]))/g, (_, unicode?: string, hex?: string, letter?: string) => {
    if (unicode !== undefined || hex !== undefined) return String.fromCharCode(parseInt(unicode ?? hex ?? '', 16));
    return { n: '\n', r: '\r', t: '\t' }[letter ?? ''] ?? letter ?? '';
  });
}
