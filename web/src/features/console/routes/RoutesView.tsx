// Routes: who takes the origin's time, why, and what to do about it.
import { useQuery } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { Field } from '../../../ui/Field';
import { clockTime, moment, plural, wholeNumber } from '../../../ui/format';
import { againOnceTold } from '../api/again';
import { useApi } from '../api/ApiContext';
import { fetchRoutes } from '../api/routes';
import type { Route, Routes } from '../api/routes';
import { Loaded } from '../frame/Loaded';
import { go, hrefOf } from '../place';
import { pressed, readOrder, sorted, writeOrder } from './order';
import type { Order } from './order';
import { RouteDetail } from './RouteDetail';
import { RouteTable } from './RouteTable';
import { sinceThen } from './sinceThen';
import { Waste } from './Waste';
import './RoutesView.css';

interface Props {
  readonly query: URLSearchParams;
}

/** Few are asked for again and again; of many, on request. */
const EVERY_MS = 5000;
const FEW = 1000;

export function RoutesView({ query }: Props) {
  const api = useApi();
  const routes = useQuery({
    queryKey: ['routes'],
    queryFn: ({ signal }) => fetchRoutes(api, signal),
    // What is old is asked for until it is told, however much it is.
    refetchInterval: (asked) => ((asked.state.data?.total ?? 0) <= FEW || asked.state.error !== null ? againOnceTold(EVERY_MS)(asked) : false),
  });
  return (
    <Loaded query={routes} what="its routes">
      {(data) => <Told routes={data} query={query} at={new Date(routes.dataUpdatedAt)} onAgain={() => void routes.refetch()} />}
    </Loaded>
  );
}

interface ToldProps {
  readonly routes: Routes;
  readonly query: URLSearchParams;
  /** When it was told. */
  readonly at: Date;
  readonly onAgain: () => void;
}

function Told({ routes: { since, routes: all, total }, query, at, onAgain }: ToldProps) {
  /** What was counted when somebody began to look; a server that was started anew has forgotten it. */
  const [asked, setThen] = useState<{ readonly at: Date; readonly since: number | undefined; readonly routes: readonly Route[] } | null>(null);
  const then = asked?.since === since?.getTime() ? asked : null;
  const routes = useMemo(() => (then === null ? all : sinceThen(all, then.routes)), [all, then]);
  const [part, setPart] = useState('');
  const order = readOrder(query.get('order'));
  const open = query.get('open');
  const { column, isDescending } = order;
  const shown = useMemo(
    () =>
      sorted(
        routes.filter(({ route, upstream }) => `${route} ${upstream ?? ''}`.toLowerCase().includes(part.toLowerCase())),
        { column, isDescending },
      ),
    [routes, part, column, isDescending],
  );
  const openRoute = open === null ? undefined : routes.find(({ route }) => route === open);
  const hrefTo = (route: string | null, by: Order = order) => hrefOf('routes', { order: writeOrder(by), open: route });

  if (routes.length === 0) {
    return <p className="soft">No request has come yet: routes are told once they are asked for.</p>;
  }
  return (
    <>
      <Waste routes={routes} hrefTo={hrefTo} />
      <div className={openRoute === undefined ? 'routes' : 'routes routes-split'}>
        {open === null ? null : openRoute === undefined ? (
          <p className="soft">There is no route “{open}” any more.</p>
        ) : (
          <RouteDetail key={openRoute.route} route={openRoute} closeHref={hrefTo(null)} />
        )}
        <section className="part routes-list" aria-labelledby="routes-title">
          <header className="part-head">
            <h2 id="routes-title">{titleOf(total, part === '' ? null : shown.length)}</h2>
            <p>
              {then !== null ? `Counted since you asked, ${clockTime(then.at)}. ` : since === null ? '' : `Counted since ${moment(since)}. `}
              <button type="button" className="link-button" onClick={() => setThen(then === null ? { at: new Date(), since: since?.getTime(), routes: all } : null)}>
                {then === null ? 'Count from now' : 'All of it'}
              </button>{' '}
              {total > routes.length ? `The ${wholeNumber(routes.length)} that cost the origin most. ` : ''}
              {total > FEW ? `As of ${clockTime(at)}. ` : ''}
              {total > FEW ? (
                <button type="button" className="link-button" onClick={onAgain}>
                  Ask again
                </button>
              ) : null}
            </p>
          </header>
          <div className="routes-find">
            <Field label="Find" type="search" value={part} onChange={setPart} placeholder="part of a path" />
          </div>
          <RouteTable
            routes={shown}
            order={order}
            open={open}
            onOrder={(column) => go(hrefTo(open, pressed(order, column)), 'replace')}
            hrefTo={hrefTo}
          />
        </section>
      </div>
    </>
  );
}

/** `fit`: so many have what is looked for. */
function titleOf(total: number, fit: number | null): string {
  const all = plural(total, 'route', 'routes');
  return fit === null ? all : `${wholeNumber(fit)} of ${all} ${fit === 1 ? 'fits' : 'fit'}`;
}
