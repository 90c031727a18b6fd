// The gateways that share what they have, and how far each is.
import { useQuery } from '@tanstack/react-query';
import { bytes, plural, span, wholeNumber } from '../../../ui/format';
import { MarkSign } from '../../../ui/MarkSign';
import { again } from '../api/again';
import { useApi } from '../api/ApiContext';
import { fetchInstances } from '../api/instances';
import type { Instance } from '../api/instances';

const EVERY_MS = 5000;

/** Nothing where nothing is shared. */
export function Instances() {
  const api = useApi();
  const { data } = useQuery({
    queryKey: ['instances'],
    queryFn: ({ signal }) => fetchInstances(api, signal),
    refetchInterval: again(EVERY_MS),
  });
  if (data === undefined || data.length === 0) return null;
  const dead = data.filter(({ alive }) => !alive).length;
  return (
    <section className="part instances" aria-labelledby="instances-title">
      <header className="part-head">
        <h2 id="instances-title">Gateways that share</h2>
        <p>{dead === 0 ? `${plural(data.length, 'is', 'are')} there` : `${dead} of ${data.length} silent`}</p>
      </header>
      <div className="table-box">
        <table className="table figures">
          <thead>
            <tr>
              <th scope="col">Gateway</th>
              <th scope="col">Purge log</th>
              <th scope="col" className="number">
                Entries
              </th>
              <th scope="col" className="number">
                Memory
              </th>
              <th scope="col" className="number">
                Seen
              </th>
            </tr>
          </thead>
          <tbody>
            {data.map((instance) => (
              <tr key={instance.name}>
                <th scope="row" className="breaks">
                  {instance.name} {instance.is_self ? <span className="soft">(this one)</span> : null}
                </th>
                <td>
                  <MarkSign mark={markOf(instance)} /> {wordOf(instance)}
                  {instance.cursor === null ? null : (
                    <span className="soft" title={`at ${instance.cursor} of the log`}>
                      {' '}
                      at {placeOf(instance.cursor)}
                    </span>
                  )}
                </td>
                <td className="number">{instance.entries === null ? '–' : wholeNumber(instance.entries)}</td>
                <td className="number">{instance.bytes === null ? '–' : bytes(instance.bytes)}</td>
                <td className="number">{span(instance.seen_seconds_ago)} ago</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

/** As much of it as tells two apart: it begins with the time. */
function placeOf(cursor: number): string {
  const digits = String(cursor);
  return digits.length <= 7 ? digits : `…${digits.slice(-7)}`;
}

function markOf({ alive, behind }: Instance) {
  if (!alive) return 'failed';
  return behind === 0 ? 'hit' : 'stale';
}

function wordOf({ alive, behind }: Instance): string {
  if (!alive) return 'silent';
  return behind === 0 ? 'up to date' : `${plural(behind, 'purge', 'purges')} behind`;
}
