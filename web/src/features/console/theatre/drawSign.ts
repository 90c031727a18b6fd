// Draws a traveller as the legend below the stage has it: the shapes and colours that verdicts have everywhere.
import type { Mark } from '../../../ui/mark';
import { VERDICT_WORDS } from '../words/verdicts';
import type { Way } from './troupe';

/** What a canvas offers for it. */
export type Pen = Pick<CanvasRenderingContext2D, 'beginPath' | 'moveTo' | 'lineTo' | 'closePath' | 'arc' | 'rect' | 'fill' | 'stroke'>;
export type Sign = Mark | 'triangle' | 'line';

/** A hit that the shared tier answered is a hit, and its way says the rest. */
export function signOf(way: Way): Sign {
  if (way === 'refresh') return 'triangle';
  if (way === 'purge') return 'line';
  return VERDICT_WORDS[way === 'shared' ? 'hit' : way].mark;
}

/** As the marks are coloured in text. */
export const TONES: Readonly<Record<Sign, string>> = {
  hit: '--hit',
  stale: '--stale',
  shared: '--shared',
  miss: '--miss',
  bypass: '--bypass',
  unsaid: '--bypass',
  failed: '--failed',
  triangle: '--stale',
  line: '--failed',
};

const HALF_PX = 5;
const ROUND = 2 * Math.PI;

/** `line` is as high as the stage, and is drawn there. */
export function drawSign(pen: Pen, sign: Exclude<Sign, 'line'>, x: number, y: number): void {
  pen.beginPath();
  switch (sign) {
    case 'triangle':
      pen.moveTo(x, y - HALF_PX);
      pen.lineTo(x + HALF_PX, y + HALF_PX - 1);
      pen.lineTo(x - HALF_PX, y + HALF_PX - 1);
      pen.closePath();
      pen.fill();
      break;
    case 'hit':
      pen.arc(x, y, HALF_PX - 1, 0, ROUND);
      pen.fill();
      break;
    case 'unsaid':
      pen.arc(x, y, HALF_PX - 1, 0, ROUND);
      pen.stroke();
      break;
    case 'shared':
      pen.arc(x, y, HALF_PX, 0, ROUND);
      pen.stroke();
      pen.beginPath();
      pen.arc(x, y, HALF_PX - 3, 0, ROUND);
      pen.fill();
      break;
    case 'stale':
      pen.arc(x, y, HALF_PX - 1, 0, ROUND);
      pen.stroke();
      pen.beginPath();
      pen.arc(x, y, HALF_PX - 1, ROUND / 4, (3 * ROUND) / 4);
      pen.fill();
      break;
    case 'miss':
      pen.moveTo(x, y - HALF_PX);
      pen.lineTo(x + HALF_PX, y);
      pen.lineTo(x, y + HALF_PX);
      pen.lineTo(x - HALF_PX, y);
      pen.closePath();
      pen.fill();
      break;
    case 'bypass':
      pen.rect(x - HALF_PX + 1, y - HALF_PX + 1, 2 * HALF_PX - 2, 2 * HALF_PX - 2);
      pen.stroke();
      break;
    case 'failed':
      pen.moveTo(x - HALF_PX + 1, y - HALF_PX + 1);
      pen.lineTo(x + HALF_PX - 1, y + HALF_PX - 1);
      pen.moveTo(x + HALF_PX - 1, y - HALF_PX + 1);
      pen.lineTo(x - HALF_PX + 1, y + HALF_PX - 1);
      pen.stroke();
      break;
  }
}
