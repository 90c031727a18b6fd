// The way of the last load: this page, Larder, what it shares with others, the posts service; and where it turned back.
import { millis } from '../../../ui/format';
import type { Route } from './route';
import './RouteMap.css';

interface Props {
  readonly route: Route;
}

const PAGE_X = 24;
const ORIGIN_X = 296;
const SHARED_X = 200;
const LINE_Y = 30;

export function RouteMap({ route }: Props) {
  const larderX = route.toShared === null ? 160 : 112;
  // The last station before the posts service.
  const lastX = route.toShared === null ? larderX : SHARED_X;
  // The line stops short of Larder's station, and farther off where it has to go around it.
  const detour = route.pastLarder ? 26 : 11;
  return (
    <div className="route">
      {/* The sentence below says what the picture shows. */}
      <svg viewBox="0 0 320 64" aria-hidden="true" focusable="false">
        <path className={`leg leg-${route.toLarder}`} d={`M${PAGE_X + 9} ${LINE_Y}H${larderX - detour}`} />
        {route.toShared === null ? null : (
          <path className={`leg leg-${route.toShared}`} d={`M${larderX + detour} ${LINE_Y}H${SHARED_X - 11}`} />
        )}
        <path className={`leg leg-${route.toOrigin}`} d={`M${lastX + (lastX === larderX ? detour : 11)} ${LINE_Y}H${ORIGIN_X - 9}`} />
        {route.pastLarder ? (
          <path className="leg leg-gone" d={`M${larderX - detour} ${LINE_Y}c14 0 10-18 26-18s12 18 26 18`} />
        ) : null}
        {route.toLarder === 'broken' ? <path className="leg-break" d={cross((PAGE_X + larderX) / 2)} /> : null}
        {route.toOrigin === 'broken' ? <path className="leg-break" d={cross((lastX + ORIGIN_X) / 2)} /> : null}

        <circle className="station station-seen" cx={PAGE_X} cy={LINE_Y} r="5" />
        <path
          className={station(!route.pastLarder && isThere(route.toLarder))}
          d={`M${larderX - 7} ${LINE_Y - 7}h14v14h-14z`}
        />
        {route.toShared === null ? null : (
          <path
            className={station(!route.pastLarder && isThere(route.toShared))}
            d={`M${SHARED_X} ${LINE_Y - 9}l9 9-9 9-9-9z`}
          />
        )}
        <circle className={station(isThere(route.toOrigin))} cx={ORIGIN_X} cy={LINE_Y} r="5" />

        <text className="station-name" x="0" y="58">
          This page
        </text>
        <text className="station-name" x={larderX} y="58" textAnchor="middle">
          Larder
        </text>
        {route.toShared === null ? null : (
          <text className="station-name" x={SHARED_X} y="58" textAnchor="middle">
            Shared
          </text>
        )}
        <text className="station-name" x="320" y="58" textAnchor="end">
          Posts service
        </text>
        {route.originMs === null ? null : (
          <text className="leg-time figures" x={(lastX + ORIGIN_X) / 2} y="18" textAnchor="middle">
            {millis(route.originMs)}
          </text>
        )}
      </svg>
      <p className="route-sentence">{route.sentence}</p>
    </div>
  );
}

function cross(x: number): string {
  return `M${x - 6} ${LINE_Y - 6}l12 12m0-12l-12 12`;
}

function isThere(leg: Route['toLarder']): boolean {
  return leg === 'gone' || leg === 'later';
}

function station(seen: boolean): string {
  return seen ? 'station station-seen' : 'station';
}
