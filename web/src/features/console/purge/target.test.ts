// What is typed is purged as the command line would purge it.
import { describe, expect, test } from 'vitest';
import { hostAlone, isPathAlone, targetOf } from './target';
import type { Kind } from './target';

describe('a purge', () => {
  test.each<[Kind, string, unknown]>([
    ['tag', 'post:1', { tags: ['post:1'] }],
    ['tag', ' a, b ,, ', { tags: ['a', 'b'] }],
    ['tag', 'a\nb, c\r\n', { tags: ['a', 'b', 'c'] }],
    ['url', 'shop.example/a\r\n\n https://shop.example/b \nshop.example/a', { keys: ['//shop.example/a', 'https://shop.example/b'] }],
    ['url', 'https://shop.example/a', { keys: ['https://shop.example/a'] }],
    ['url', 'shop.example/a', { keys: ['//shop.example/a'] }],
    ['url', 'shop.example:8080/a', { keys: ['//shop.example:8080/a'] }],
    ['url', 'localhost/a', { keys: ['//localhost/a'] }],
    ['url', '/posts/1', { keys: ['/posts/1'] }],
    ['url', 'user:42', { keys: ['//user:42'] }],
    ['url', 'user:anna', { keys: ['user:anna'] }],
    ['prefix', 'shop.example/posts/', { prefix: '//shop.example/posts/' }],
    ['host', 'shop.example', { prefix: '//shop.example/' }],
    ['glob', 'shop.example/*.html', { glob: '//shop.example/*.html' }],
    ['glob', '*.html', { glob: '*.html' }],
    ['all', 'whatever', { all: true }],
  ])('of a %s %s', (kind, typed, target) => {
    expect(targetOf(kind, typed)).toEqual({ kind: 'target', target });
  });

  test.each<[Kind, string, boolean]>([
    ['url', '/posts/1', true],
    ['prefix', '/posts/', true],
    ['glob', '/posts/*', true],
    ['url', 'shop.example/posts/1', false],
    ['url', 'https://shop.example/posts/1', false],
    ['tag', '/posts/1', false],
    ['all', '', false],
  ])('of a %s %s lacks a host: %s', (kind, typed, expected) => {
    const wanted = targetOf(kind, typed);
    expect(isPathAlone(wanted.kind === 'target' ? wanted.target : null)).toBe(expected);
  });

  test.each<[Kind, string, string | null]>([
    ['host', '127.0.0.1', '127.0.0.1'],
    ['host', '127.0.0.1:8080', null],
    ['url', 'https://shop.example/a', 'shop.example'],
    ['prefix', 'shop.example/posts/', 'shop.example'],
    ['glob', 'shop.example:81/*', null],
    ['glob', '*.html', null],
    ['url', 'user:anna', null],
    ['tag', '//a/', null],
  ])('of a %s %s names the host %s without a port', (kind, typed, expected) => {
    const wanted = targetOf(kind, typed);
    expect(hostAlone(wanted.kind === 'target' ? wanted.target : null)).toBe(expected);
  });

  test.each<[Kind, string, string]>([
    ['tag', ' , ', 'nothing'],
    ['url', '', 'nothing'],
    ['host', 'shop.example/a', 'unreadable'],
    ['host', 'shop.example\nother.example', 'unreadable'],
    ['prefix', 'shop.example/a\nshop.example/b', 'unreadable'],
    ['url', 'https://shop.example/a https://shop.example/b', 'unreadable'],
    ['url', 'shop.example/a\nftp://shop.example/', 'unreadable'],
    ['host', 'a b', 'unreadable'],
    ['url', 'ftp://shop.example/', 'unreadable'],
  ])('of a %s “%s” is none', (kind, typed, wanted) => {
    expect(targetOf(kind, typed).kind).toBe(wanted);
  });
});
