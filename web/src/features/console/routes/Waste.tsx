// Which route takes most of the origin's time: one sentence and one bar.
import { percent, span } from '../../../ui/format';
import type { Route } from '../api/routes';
import { missReasons, sharesOf } from './waste';

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
