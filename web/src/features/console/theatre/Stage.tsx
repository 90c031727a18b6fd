// Draws travellers as they go: on a canvas, since there are hundreds of them and each moves.
import { useEffect, useRef } from 'react';
import { drawSign, signOf, TONES } from './drawSign';
import { PLACES, seenAt } from './troupe';
import type { Traveller } from './troupe';
import './Stage.css';

interface Props {
  /** Grows at its end; read anew for each picture. */
  readonly troupe: { readonly current: readonly Traveller[] };
  /** The stage's time, in milliseconds. */
  readonly clock: () => number;
  readonly hasShared: boolean;
  readonly label: string;
}

/** Of one that has nothing yet; whoever comes back with something is seen in full. */
const UNLOADED = 0.55;

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
        const sign = signOf(traveller.way);
        pen.globalAlpha = seen.opacity * (seen.isLoaded || sign === 'line' ? 1 : UNLOADED);
        pen.fillStyle = style.getPropertyValue(TONES[sign]);
        pen.strokeStyle = pen.fillStyle;
        pen.lineWidth = 2;
        const y = height * (0.14 + 0.8 * traveller.lane);
        if (sign === 'line') drawWave(pen, seen.x * width, height);
        else drawSign(pen, sign, seen.x * width, y);
        if (traveller.alone !== undefined) {
          pen.globalAlpha = seen.opacity;
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

/** A purge goes over everything that is stored, from the inside out. */
function drawWave(pen: CanvasRenderingContext2D, x: number, height: number): void {
  pen.beginPath();
  pen.moveTo(x, height * 0.12);
  pen.lineTo(x, height);
  pen.stroke();
}
