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
  tag: { label: 'Tag', placeholder: 'post:1', hint: 'Everything that carries it. Several: with commas between.' },
  url: { label: 'URL, or key', placeholder: 'shop.example/posts/1', hint: 'Without a scheme it is for http and https.' },
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
  switch (kind) {
    case 'tag': {
      const tags = text.split(',').map((tag) => tag.trim()).filter((tag) => tag !== '');
      return tags.length === 0 ? { kind: 'nothing' } : { kind: 'target', target: { tags } };
    }
    case 'url':
      return spelt(text, (key) => ({ keys: [key] }));
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

/** A key of an application that is no URL begins with a slash, or is said as it is. */
function spelt(text: string, target: (name: string) => Target): Wanted {
  const isWhole = text.startsWith('/') || /^https?:\/\//i.test(text);
  if (isWhole) return { kind: 'target', target: target(text) };
  if (text.includes('://')) return { kind: 'unreadable', why: 'A URL begins with http:// or https://, or with neither.' };
  // What has a dot before its first slash is a host.
  const isHost = /^[^/]*[.:][^/]*(?:\/|$)/.test(text) || /^localhost(?:\/|$)/.test(text);
  return { kind: 'target', target: target(isHost && !/^[^/]*:[^/\d]/.test(text) ? `//${text}` : text) };
}

/** It begins with one slash, as keys of applications may, and as no URL does. */
export function isPathAlone(target: Target | null): boolean {
  if (target === null) return false;
  const names = 'keys' in target ? target.keys : 'prefix' in target ? [target.prefix] : 'glob' in target ? [target.glob] : [];
  return names.some((name) => /^\/(?!\/)/.test(name));
}
