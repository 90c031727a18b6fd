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

/** Where readers reach the gateway, and what stands for a host in an example. */
export interface Address {
  /** `http://127.0.0.1:8080`: of a path alone it is taken. `null`: not known. */
  readonly own: string | null;
  readonly example: string;
}

const NO_ADDRESS: Address = { own: null, example: 'http://www.example.org' };

export function readPasted(text: string, { own, example }: Address = NO_ADDRESS): Pasted {
  const line = text.trim();
  if (line === '') return { kind: 'nothing' };
  if (line.length > MOST_CHARACTERS) return { kind: 'unreadable', why: 'That is longer than any request.' };
  const [, id] = /^(?:larder-request:\s*)?([0-9a-f]{32})$/i.exec(line) ?? [];
  if (id !== undefined) return { kind: 'past', id: id.toLowerCase() };
  if (!/^(?:\$\s*)?curl(?:\.exe)?\s/.test(line)) {
    const url = urlOf(line);
    if (url === null) {
      const isPath = /^\/(?!\/)\S*$/.test(line);
      const whole = isPath && own !== null ? urlOf(`${own}${line}`) : null;
      if (whole !== null) return { kind: 'request', request: { method: 'GET', url: whole, headers: [] }, leftOut: [] };
      const why = line.startsWith('/')
        ? `That is a path alone: put scheme and host before it, as in ${example}${isPath ? line : '/me'}.`
        : 'That is neither a URL, nor a line that begins with curl, nor the id of a request.';
      return { kind: 'unreadable', why };
    }
    return { kind: 'request', request: { method: 'GET', url, headers: [] }, leftOut: [] };
  }
  const words = wordsOf(line.replace(/^\$\s*/, ''));
  if (words === null) return { kind: 'unreadable', why: 'A quotation mark is left open.' };
  return readCurl(words.slice(1));
}

/** Long options with a value that changes nothing in the request, or nothing that is looked at. */
const VALUED = new Set(
  `
  abstract-unix-socket alt-svc aws-sigv4 cacert capath cert cert-type ciphers config connect-timeout connect-to continue-at
  cookie-jar create-file-mode crlfile curves delegation dns-interface dns-ipv4-addr dns-ipv6-addr dns-servers doh-url
  dump-header ech egd-file engine etag-compare etag-save expect100-timeout ftp-account ftp-alternative-to-user ftp-method
  ftp-port ftp-ssl-ccc-mode happy-eyeballs-timeout-ms haproxy-clientip hostpubmd5 hostpubsha256 hsts interface ip-tos
  ipfs-gateway keepalive-cnt keepalive-time key key-type krb libcurl limit-rate local-port login-options mail-auth mail-from
  mail-rcpt max-filesize max-redirs max-time netrc-file noproxy output output-dir parallel-max pass pinnedpubkey preproxy
  proto proto-default proto-redir proxy proxy-cacert proxy-capath proxy-cert proxy-cert-type proxy-ciphers proxy-crlfile
  proxy-header proxy-key proxy-key-type proxy-pass proxy-pinnedpubkey proxy-service-name proxy-tls13-ciphers
  proxy-tlsauthtype proxy-tlspassword proxy-tlsuser proxy-user proxy1.0 pubkey quote random-file rate request-target resolve
  retry retry-delay retry-max-time sasl-authzid service-name socks4 socks4a socks5 socks5-gssapi-service socks5-hostname
  speed-limit speed-time stderr telnet-option tftp-blksize time-cond tls-max tls13-ciphers tlsauthtype tlspassword tlsuser
  trace trace-ascii trace-config unix-socket url-query variable vlan-priority write-out
`
    .trim()
    .split(/\s+/)
    .map((name) => `--${name}`),
);

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
  '--form': '-F',
  '--form-string': '-F',
  '--upload-file': '-T',
  '--range': '-r',
};

/** Of one letter, those with a value. */
const SHORT_VALUED = 'ACDEFHKPQTUXYbcdemortuwxyz';

function readCurl(words: readonly string[]): Pasted {
  const headers: [string, string][] = [];
  const leftOut: string[] = [];
  let method: string | null = null;
  let hasBody = false;
  const withoutValue: string[] = [];
  const urls: string[] = [];
  const data: string[] = [];
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
    const value = () => {
      const told = joined ?? rest.shift();
      if (told === undefined) withoutValue.push(word);
      return told ?? '';
    };
    switch (name) {
      case '-X':
        method = value();
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
        // Whose they are makes no difference, and they are not to be passed around.
        value();
        headers.push(['authorization', 'Basic (hidden)']);
        break;
      case '--oauth2-bearer':
        value();
        headers.push(['authorization', 'Bearer (hidden)']);
        break;
      case '-d':
        data.push(value());
        break;
      case '--data-urlencode':
        data.push(encoded(value()));
        break;
      case '--json':
        data.push(value());
        headers.push(['content-type', 'application/json'], ['accept', 'application/json']);
        break;
      case '-F':
      case '-T':
        value();
        hasBody = true;
        break;
      case '-r':
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
        urls.push(value());
        break;
      case '--':
        break;
      default:
        if (VALUED.has(name) || (name.length === 2 && SHORT_VALUED.includes(name.charAt(1)))) {
          leftOut.push(`${name} ${value()}`);
        } else if (name.startsWith('-') && name.length > 1) {
          leftOut.push(name);
        } else if (name !== '-') {
          urls.push(name);
        }
    }
  }
  if (withoutValue.length > 0) return { kind: 'unreadable', why: `${withoutValue.join(', ')} has no value in the line.` };
  if (urls.length > 1) return { kind: 'unreadable', why: `The line names two URLs: ${urls.slice(0, 2).join(' and ')}.` };
  const named = urlOf(urls[0] ?? '');
  if (named === null) return { kind: 'unreadable', why: 'The line names no URL.' };
  const whole = isGet && data.length > 0 ? `${named}${named.includes('?') ? '&' : '?'}${data.join('&')}` : named;
  hasBody ||= data.length > 0;
  if (hasBody && !isGet) leftOut.push('the body: it is not looked at');
  const usual = isHead ? 'HEAD' : hasBody && !isGet ? 'POST' : 'GET';
  return { kind: 'request', request: { method: method ?? usual, url: whole, headers }, leftOut };
}

/** What `--data-urlencode` sends: `name=content`, of which the content is encoded, or content alone. */
function encoded(text: string): string {
  const sign = text.indexOf('=');
  const content = encodeURIComponent(text.slice(sign + 1));
  return sign > 0 ? `${text.slice(0, sign)}=${content}` : content;
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
