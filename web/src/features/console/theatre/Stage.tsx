// Draws travellers as they go: on a canvas, since there are hundreds of them and each moves.
import { useEffect, useRef } from 'react';
import { PLACES, seenAt } from './troupe';
import type { Traveller, Way } from './troupe';
import './Stage.css';

interface Props {
  /** Grows at its end; read anew for each picture. */
  readonly troupe: { readonly current: readonly Traveller[] };
  /** The stage's time, in milliseconds. */
  readonly clock: () => number;
  readonly hasShared: boolean;
  readonly label: string;
}

const TONES: Readonly<Record<Way, string>> = {
  hit: '--hit',
  stale: '--stale',
  collapsed: '--shared',
  miss: '--miss',
  pass: '--bypass',
  refused: '--failed',
  shared: '--shared',
  refresh: '--stale',
  purge: '--failed',
};

const HALF_PX = 5;

export function Stage({ troupe, clock, hasShared, label }: Props) {
  const canvasRef = useRef<HTMLCanvasElement>(null);

  useEffect(() => {
    const canvas = canvasRef.current;
    const pen = canvas?.getContext('2d') ?? null;
    if (canvas === null || pen === null) return;
    let frame = requestAnimationFrame(function draw() {
      const { clientWidth: width, clientHeight: height } = canvas;
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
      if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, width, height);
      const style = getComputedStyle(canvas);
      const now = clock();
      for (const traveller of troupe.current) {
        const seen = seenAt(traveller, now, hasShared);
        if (seen === null) continue;
        pen.globalAlpha = seen.opacity;
        pen.fillStyle = style.getPropertyValue(TONES[traveller.way]);
        pen.strokeStyle = pen.fillStyle;
        pen.lineWidth = 2;
        const y = height * (0.14 + 0.8 * traveller.lane);
        if (traveller.way === 'purge') drawWave(pen, seen.x * width, height);
        else drawMark(pen, traveller.way, seen.x * width, y, seen.isLoaded);
        if (traveller.alone !== undefined) {
          // On the side where there is room.
          const isRight = seen.x > 0.55;
          pen.fillStyle = style.getPropertyValue('--ink-soft');
          pen.font = `${width < 500 ? 10 : 12}px ${style.fontFamily}`;
          pen.textAlign = isRight ? 'right' : 'left';
          pen.textBaseline = 'middle';
          pen.fillText(traveller.alone.label, seen.x * width + (isRight ? -10 : 10), y, width * 0.5);
        }
      }
      pen.globalAlpha = 1;
      frame = requestAnimationFrame(draw);
    });
    return () => cancelAnimationFrame(frame);
  }, [troupe, clock, hasShared]);

  return (
    <div className="stage" role="img" aria-label={label}>
      {(hasShared ? (['reader', 'memory', 'shared', 'origin'] as const) : (['reader', 'memory', 'origin'] as const)).map((stop) => (
        <span key={stop} className={`stage-stop stage-${stop}`} style={{ insetInlineStart: `${PLACES[stop] * 100}%` }}>
          {stop}
        </span>
      ))}
      <canvas ref={canvasRef} />
    </div>
  );
}

/** The shapes that verdicts have everywhere; whoever comes back with something is filled. */
function drawMark(pen: CanvasRenderingContext2D, way: Exclude<Way, 'purge'>, x: number, y: number, isLoaded: boolean): void {
  pen.beginPath();
  switch (way) {
    case 'refresh':
      pen.moveTo(x, y - HALF_PX);
      pen.lineTo(x + HALF_PX, y + HALF_PX - 1);
      pen.lineTo(x - HALF_PX, y + HALF_PX - 1);
      pen.closePath();
      break;
    case 'shared':
    case 'hit':
    case 'stale':
    case 'collapsed':
      pen.arc(x, y, HALF_PX - 1, 0, 2 * Math.PI);
      break;
    case 'miss':
      pen.moveTo(x, y - HALF_PX);
      pen.lineTo(x + HALF_PX, y);
      pen.lineTo(x, y + HALF_PX);
      pen.lineTo(x - HALF_PX, y);
      pen.closePath();
      break;
    case 'pass':
      pen.rect(x - HALF_PX + 1, y - HALF_PX + 1, 2 * HALF_PX - 2, 2 * HALF_PX - 2);
      break;
    case 'refused':
      pen.moveTo(x - HALF_PX + 1, y - HALF_PX + 1);
      pen.lineTo(x + HALF_PX - 1, y + HALF_PX - 1);
      pen.moveTo(x + HALF_PX - 1, y - HALF_PX + 1);
      pen.lineTo(x - HALF_PX + 1, y + HALF_PX - 1);
      break;
  }
  if (isLoaded && way !== 'refused') pen.fill();
  else pen.stroke();
}

/** A purge goes over everything that is stored, from the inside out. */
function drawWave(pen: CanvasRenderingContext2D, x: number, height: number): void {
  pen.beginPath();
  pen.moveTo(x, height * 0.12);
  pen.lineTo(x, height);
  pen.stroke();
}
