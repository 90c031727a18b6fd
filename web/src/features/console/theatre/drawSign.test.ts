// A sign on the stage is the one that the legend has.
import { expect, test } from 'vitest';
import { VERDICTS } from '../api/samples';
import { VERDICT_WORDS } from '../words/verdicts';
import { drawSign, signOf } from './drawSign';
import type { Pen, Sign } from './drawSign';

/** What is drawn: each path by how it begins, and whether it is filled. */
function drawn(sign: Exclude<Sign, 'line'>): readonly string[] {
  const done: string[] = [];
  let path = '';
  const begins = (name: string) => () => {
    if (path === '') path = name;
  };
  const pen: Pen = {
    beginPath: () => {
      path = '';
    },
    moveTo: begins('lines'),
    lineTo: begins('lines'),
    closePath: () => undefined,
    arc: begins('circle'),
    rect: begins('square'),
    fill: () => void done.push(`${path} filled`),
    stroke: () => void done.push(path),
  };
  drawSign(pen, sign, 10, 10);
  return done;
}

test.each(VERDICTS)('%s is the sign that it has in words', (verdict) => {
  expect(signOf(verdict)).toBe(VERDICT_WORDS[verdict].mark);
});

test('a hit that the shared tier answered is one', () => {
  expect(signOf('shared')).toBe('hit');
});

test.each<[Exclude<Sign, 'line'>, readonly string[]]>([
  ['hit', ['circle filled']],
  ['shared', ['circle', 'circle filled']],
  ['stale', ['circle', 'circle filled']],
  ['miss', ['lines filled']],
  ['bypass', ['square']],
  ['unsaid', ['circle']],
  ['failed', ['lines']],
  ['triangle', ['lines filled']],
])('%s is drawn as its mark is', (sign, paths) => {
  expect(drawn(sign)).toEqual(paths);
});
