// All routes, a row each; ordered by the column that is pressed.
import { bytes, percent, short, span } from '../../../ui/format';
import { VirtualRows } from '../../../ui/VirtualRows';
import { useMedia } from '../../../ui/useMedia';
import type { Route } from '../api/routes';
import { requestsOf, VERDICTS } from '../api/samples';
import { COLUMNS } from './order';
import type { Column, Order } from './order';
import { mainReason } from './waste';
import '../frame/GridTable.css';
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

/** As in the stylesheet. On a narrow page a row is a card of four lines. */
const NARROW = '(max-width: 56rem)';
const ROW_PX = 40;
const CARD_PX = 112;

export function RouteTable({ routes, order, open, onOrder, hrefTo }: Props) {
  const isNarrow = useMedia(NARROW);
  const most = Math.max(1e-9, ...routes.map(({ origin_seconds }) => origin_seconds));
  return (
    <div className="grid-table route-table" role="table" aria-label="Routes" aria-rowcount={routes.length + 1}>
      <div role="rowgroup">
        <div role="row" aria-rowindex={1} className="grid-row grid-head">
          {COLUMNS.map((column) => (
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
        </div>
      </div>
      {routes.length === 0 ? (
        <p className="soft">None fits.</p>
      ) : (
        <VirtualRows
          label="Routes"
          count={routes.length}
          rowPx={isNarrow ? CARD_PX : ROW_PX}
          renderRow={(index) => {
            const route = routes[index];
            return route === undefined ? null : (
              <Row key={route.route} route={route} index={index} most={most} isOpen={route.route === open} href={hrefTo(route.route)} />
            );
          }}
        />
      )}
    </div>
  );
}

interface RowProps {
  readonly route: Route;
  readonly index: number;
  readonly most: number;
  readonly isOpen: boolean;
  readonly href: string;
}

function Row({ route, index, most, isOpen, href }: RowProps) {
  return (
    <div role="row" aria-rowindex={index + 2} className={isOpen ? 'grid-row grid-row-open figures' : 'grid-row figures'}>
      <div role="cell" className="route-name">
        <a href={href} className="mono" title={route.route}>
          {route.route}
        </a>{' '}
        <span className="soft route-why">{mainReason(route)}</span>
      </div>
      <div role="cell" className="number" data-name={NAMES.requests}>
        {short(requestsOf(route.requests))}
      </div>
      <div role="cell" className="number" data-name={NAMES.hit_ratio}>
        {route.hit_ratio === null ? '–' : percent(route.hit_ratio)}
        <span className="route-verdicts" aria-hidden="true">
          {VERDICTS.filter((verdict) => route.requests[verdict] > 0).map((verdict) => (
            <i key={verdict} className={`chart-layer-${verdict}`} style={{ flexGrow: route.requests[verdict] }} />
          ))}
        </span>
      </div>
      <div role="cell" className="number route-cost" data-name={NAMES.origin_seconds}>
        <i className="route-cost-bar" aria-hidden="true" style={{ inlineSize: `${(route.origin_seconds / most) * 100}%` }} />
        <span>{span(route.origin_seconds)}</span>
      </div>
      <div role="cell" className="number" data-name={NAMES.saved_seconds}>
        {span(route.saved_seconds)}
      </div>
      <div role="cell" className="number" data-name={NAMES.miss_p95}>
        {route.miss_seconds === null ? '–' : span(route.miss_seconds.p95)}
      </div>
      <div role="cell" className="number" data-name={NAMES.bytes}>
        {bytes(route.bytes)}
      </div>
    </div>
  );
}
