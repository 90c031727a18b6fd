// The chart itself: one stem per load on a logarithmic scale, its head shaped by what the cache did.
import { CHART, gapsOf, heightOf, LABELS_Y, labelsOf, pointsOf, TICKS } from './chart';
import { millis, plural } from '../../../ui/format';
import { MARK_NAMES } from '../verdict/mark';
import { MarkShape } from '../../../ui/MarkShape';
import { slowestToCompare } from './visit';
import type { Visit } from './visit';

interface Props {
  readonly visit: Visit;
  readonly postsDelayMs: number;
}

export function HistoryChart({ visit, postsDelayMs }: Props) {
  const points = pointsOf(visit);
  return (
    <svg className="chart" viewBox={`0 0 ${CHART.width} ${CHART.height}`} role="img" aria-label={summary(visit)}>
      {TICKS.map(({ ms, label }) => (
        <g key={ms}>
          <path className="chart-grid" d={across(heightOf(ms))} />
          <text className="chart-tick figures" x={CHART.left - 8} y={heightOf(ms) + 4} textAnchor="end">
            {label}
          </text>
        </g>
      ))}
      {postsDelayMs > 0 ? <path className="chart-delay" d={across(heightOf(postsDelayMs))} /> : null}
      {labelsOf(points, slowestToCompare(visit)).map(({ x, point }) => (
        <g key={point.load.number}>
          <path className="chart-leader" d={`M${point.x} ${LABELS_Y + 5}V${point.y}`} />
          <text className="chart-label figures" x={x} y={LABELS_Y} textAnchor="middle">
            {millis(point.load.ms)}
          </text>
        </g>
      ))}
      {gapsOf(points).map((x) => (
        <text key={x} className="chart-gap" x={x} y={CHART.bottom - 4} textAnchor="middle">
          …
        </text>
      ))}
      {points.map(({ x, y, scale, mark, load }) => (
        <g key={load.number} className={`mark-${mark}`}>
          <title>{`Load ${load.number}: post ${load.postId}, ${millis(load.ms)}, ${MARK_NAMES[mark]}`}</title>
          <path className={`chart-stem chart-stem-${mark}`} d={`M${x} ${CHART.bottom}V${y}`} />
          <MarkShape mark={mark} x={x} y={y} scale={scale} />
        </g>
      ))}
      {points.length > 0 ? null : (
        <text className="chart-empty" x={(CHART.left + CHART.width) / 2} y={heightOf(30) + 4} textAnchor="middle">
          Each load will leave its mark here.
        </text>
      )}
    </svg>
  );
}

function across(y: number): string {
  return `M${CHART.left} ${y}H${CHART.width}`;
}

function summary(visit: Visit): string {
  if (visit.length === 0) return 'Chart of load times, still empty';
  const times = visit.map(({ ms }) => ms);
  const range = `from ${millis(Math.min(...times))} to ${millis(Math.max(...times))}`;
  return `Chart of ${plural(visit.length, 'load time', 'load times')}, ${range}`;
}
