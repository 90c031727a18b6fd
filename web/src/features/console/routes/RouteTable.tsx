// All routes, a row each; ordered by the column that is pressed.
import { useMemo } from 'react';
import { bytes, percent, short, span } from '../../../ui/format';
import { MiddleCut } from '../../../ui/MiddleCut';
import { VirtualGrid } from '../../../ui/VirtualGrid';
import type { Route } from '../api/routes';
import { requestsOf, VERDICTS } from '../api/samples';
import { COLUMNS } from './order';
import type { Column, Order } from './order';
import { mainReason } from './waste';
import './RouteTable.css';

interface Props {
  readonly routes: readonly Route[];
  readonly order: Order;
  readonly open: string | null;
  readonly onOrder: (column: Column) => void;
  readonly hrefTo: (route: string) => string;
}

const NAMES: Readonly<Record<Column, string>> = {
  route: 'Route',
  requests: 'Requests',
  hit_ratio: 'Hit ratio',
  origin_seconds: 'Origin time',
  saved_seconds: 'Saved',
  miss_p95: 'Miss p95',
  bytes: 'Held',
};

export function RouteTable({ routes, order, open, onOrder, hrefTo }: Props) {
  const keys = useMemo(() => routes.map(({ route }) => route), [routes]);
  const most = Math.max(1e-9, ...routes.map(({ origin_seconds }) => origin_seconds));
  return (
    <>
      <VirtualGrid
        label="Routes"
        className="route-table"
        heads={COLUMNS.map((column) => (
          <div
            key={column}
            role="columnheader"
            className={column === 'route' ? undefined : 'number'}
            aria-sort={order.column !== column ? 'none' : order.isDescending ? 'descending' : 'ascending'}
          >
            <button type="button" onClick={() => onOrder(column)}>
              {NAMES[column]}
              <span aria-hidden="true">{order.column !== column ? '' : order.isDescending ? ' ↓' : ' ↑'}</span>
            </button>
          </div>
        ))}
        keys={keys}
        rowPx={40}
        cardPx={112}
        open={open}
        renderRow={({ index, tabIndex }) => {
          const route = routes[index];
          return route === undefined ? null : <Cells route={route} most={most} href={hrefTo(route.route)} tabIndex={tabIndex} />;
        }}
      />
      {routes.length === 0 ? <p className="soft">None fits.</p> : null}
    </>
  );
}

interface CellsProps {
  readonly route: Route;
  /** The longest time that a route has had of the origin. */
  readonly most: number;
  readonly href: string;
  readonly tabIndex: 0 | -1;
}

function Cells({ route, most, href, tabIndex }: CellsProps) {
  return (
    <>
      <div role="rowheader" className="route-name">
        <a href={href} className="mono grid-name" title={route.route} aria-label={route.route} tabIndex={tabIndex}>
          <MiddleCut text={route.route} />
        </a>{' '}
        <span className="soft route-why" title={mainReason(route)}>
          {mainReason(route)}
        </span>
      </div>
      <div role="gridcell" className="number" data-name={NAMES.requests}>
        {short(requestsOf(route.requests))}
      </div>
      <div role="gridcell" className="number" data-name={NAMES.hit_ratio}>
        {route.hit_ratio === null ? '–' : percent(route.hit_ratio)}
        <span className="route-verdicts" aria-hidden="true">
          {VERDICTS.filter((verdict) => route.requests[verdict] > 0).map((verdict) => (
            <i key={verdict} className={`chart-layer-${verdict}`} style={{ flexGrow: route.requests[verdict] }} />
          ))}
        </span>
      </div>
      <div role="gridcell" className="number" data-name={NAMES.origin_seconds}>
        {span(route.origin_seconds)}
        <i className="route-cost-bar" aria-hidden="true" style={{ inlineSize: `${(route.origin_seconds / most) * 100}%` }} />
      </div>
      <div role="gridcell" className="number" data-name={NAMES.saved_seconds}>
        {span(route.saved_seconds)}
      </div>
      <div role="gridcell" className="number" data-name={NAMES.miss_p95}>
        {route.miss_seconds === null ? '–' : span(route.miss_seconds.p95)}
      </div>
      <div role="gridcell" className="number" data-name={NAMES.bytes}>
        {bytes(route.bytes)}
      </div>
    </>
  );
}
