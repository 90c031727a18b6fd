// What somebody wants purged, from the words typed to what the API takes; the same rules as the command line's.
import type { Target } from '../api/purges';

export const KINDS = ['tag', 'url', 'prefix', 'host', 'glob', 'all'] as const;
export type Kind = (typeof KINDS)[number];

export const KIND_NAMES: Readonly<Record<Kind, string>> = {
  tag: 'Tag',
  url: 'URL',
  prefix: 'Prefix',
  host: 'Host',
  glob: 'Pattern',
  all: 'Everything',
};

interface KindWords {
  readonly label: string;
  readonly placeholder: string;
  readonly hint: string;
}

export const KIND_WORDS: Readonly<Record<Exclude<Kind, 'all'>, KindWords>> = {
  tag: { label: 'Tag', placeholder: 'post:1', hint: 'Everything that carries it. Several: with commas between, or one a line.' },
  url: { label: 'URL, or key', placeholder: 'shop.example/posts/1', hint: 'Without a scheme it is for http and https. Several: one a line.' },
  prefix: { label: 'Begins with', placeholder: 'shop.example/posts/', hint: 'Without a scheme it is for http and https.' },
  host: { label: 'Host', placeholder: 'shop.example', hint: 'All of its URLs, http and https.' },
  glob: { label: 'Pattern', placeholder: 'shop.example/posts/*.html', hint: '* stands for any characters, also slashes.' },
};

export type Wanted =
  | { readonly kind: 'nothing' }
  | { readonly kind: 'unreadable'; readonly why: string }
  | { readonly kind: 'target'; readonly target: Target };

export function targetOf(kind: Kind, typed: string): Wanted {
  const text = typed.trim();
  if (kind === 'all') return { kind: 'target', target: { all: true } };
  if (text === '') return { kind: 'nothing' };
  const lines = text.split(/[\r\n]+/).map((line) => line.trim()).filter((line) => line !== '');
  if (lines.length > 1 && kind !== 'tag' && kind !== 'url') return { kind: 'unreadable', why: 'One at a time: this has several lines.' };
  switch (kind) {
    case 'tag': {
      const tags = text.split(/[,\r\n]/).map((tag) => tag.trim()).filter((tag) => tag !== '');
      return tags.length === 0 ? { kind: 'nothing' } : { kind: 'target', target: { tags } };
    }
    case 'url':
      return severalOf(lines);
    case 'prefix':
      return spelt(text, (prefix) => ({ prefix }));
    case 'host':
      return /[/*?#@\s]/.test(text)
        ? { kind: 'unreadable', why: 'The host alone: shop.example, or shop.example:8080.' }
        : { kind: 'target', target: { prefix: `//${text}/` } };
    case 'glob':
      return text.startsWith('*')
        ? { kind: 'target', target: { glob: text } }
        : spelt(text, (glob) => ({ glob }));
  }
}

/** Each line names one. */
function severalOf(lines: readonly string[]): Wanted {
  const keys: string[] = [];
  for (const line of lines) {
    if (/\shttps?:\/\//i.test(line)) return { kind: 'unreadable', why: 'Several URLs: one a line.' };
    const wanted = spelt(line, (key) => ({ keys: [key] }));
    if (wanted.kind !== 'target') return wanted;
    if ('keys' in wanted.target) keys.push(...wanted.target.keys);
  }
  return { kind: 'target', target: { keys: [...new Set(keys)] } };
}

/** A key of an application that is no URL begins with a slash, or is said as it is. */
function spelt(text: string, target: (name: string) => Target): Wanted {
  const isWhole = text.startsWith('/') || /^https?:\/\//i.test(text);
  if (isWhole) return { kind: 'target', target: target(text) };
  if (text.includes('://')) return { kind: 'unreadable', why: 'A URL begins with http:// or https://, or with neither.' };
  // What has a dot before its first slash is a host.
  const isHost = /^[^/]*[.:][^/]*(?:\/|$)/.test(text) || /^localhost(?:\/|$)/.test(text);
  return { kind: 'target', target: target(isHost && !/^[^/]*:[^/\d]/.test(text) ? `//${text}` : text) };
}

/** The host that it names without a port, where it names one: keys of another port are other keys. */
export function hostAlone(target: Target | null): string | null {
  if (target === null) return null;
  const name = 'keys' in target ? target.keys[0] : 'prefix' in target ? target.prefix : 'glob' in target ? target.glob : undefined;
  return /^(?:https?:)?\/\/([^/:*?#@\s]+)\//i.exec(name ?? '')?.[1] ?? null;
}

/** It begins with one slash, as keys of applications may, and as no URL does. */
export function isPathAlone(target: Target | null): boolean {
  if (target === null) return false;
  const names = 'keys' in target ? target.keys : 'prefix' in target ? [target.prefix] : 'glob' in target ? [target.glob] : [];
  return names.some((name) => /^\/(?!\/)/.test(name));
}
