// Which route takes most of the origin's time: one sentence and one bar.
import { percent, span, wholeNumber } from '../../../ui/format';
import { Fragment } from 'react';
import { MarkSign } from '../../../ui/MarkSign';
import type { Route } from '../api/routes';
import { failing, missReasons, sharesOf } from './waste';

const MOST_FAILING = 3;

interface Props {
  readonly routes: readonly Route[];
  readonly hrefTo: (route: string) => string;
}

export function Waste({ routes, hrefTo }: Props) {
  const shares = sharesOf(routes);
  const first = shares[0];
  const worst = routes.find(({ route }) => route === first?.name);
  if (first === undefined || worst === undefined) return <p className="waste soft">The origin was not asked yet.</p>;
  const reason = missReasons(worst)[0];
  const failed = failing(routes);
  return (
    <section className="waste" aria-label="The origin’s time">
      <h2>
        <a href={hrefTo(worst.route)} className="breaks">
          {worst.route}
        </a>{' '}
        takes {percent(first.share)} of the origin’s time
      </h2>
      <p className="soft">
        {span(worst.origin_seconds)} in all. {reason === undefined ? '' : `Of its misses, ${reason.says}`}
      </p>
      {failed.length === 0 ? null : (
        <p className="figures">
          <MarkSign mark="failed" /> Readers got errors by the origin’s doing:{' '}
          {failed.slice(0, MOST_FAILING).map(({ route, reader_errors }, at) => (
            <Fragment key={route}>
              {at === 0 ? '' : ', '}
              <a href={hrefTo(route)} className="mono breaks">
                {route}
              </a>{' '}
              {wholeNumber(reader_errors)}
            </Fragment>
          ))}
          {failed.length > MOST_FAILING ? ` and ${wholeNumber(failed.length - MOST_FAILING)} other routes` : ''}.
        </p>
      )}
      <div className="waste-bar" aria-hidden="true">
        {shares.map(({ name, share }, at) => (
          <i key={name} className={`waste-part waste-part-${at}`} style={{ flexGrow: share }} />
        ))}
      </div>
      <ul className="plain-list waste-names figures">
        {shares.map(({ name, share }, at) => (
          <li key={name}>
            <i className={`waste-part waste-part-${at}`} aria-hidden="true" /> <span className="mono breaks">{name}</span>{' '}
            {percent(share)}
          </li>
        ))}
      </ul>
    </section>
  );
}
