// An explanation: the verdict, and the way to it as a tree.
import { useId } from 'react';
import type { ReactNode } from 'react';
import { cutLong } from '../../../ui/cutLong';
import { MarkSign } from '../../../ui/MarkSign';
import { clockTime, span } from '../../../ui/format';
import { LongText } from '../../../ui/LongText';
import type { Explanation, Told } from '../api/explain';
import { hrefOf } from '../place';
import { denyWords } from '../words/deny';
import { reasonWords } from '../words/reasons';
import { VERDICT_WORDS, verdictOf } from '../words/verdicts';
import { Words } from '../../../ui/Words';
import './ExplanationTree.css';

interface Props {
  readonly title: string;
  readonly told: Told;
  /** What became of the last such request, as far as that is remembered. */
  readonly last: Explanation['last'];
}

export function ExplanationTree({ title, told, last }: Props) {
  const id = useId();
  const { verdict, route, key, tiers, flight, next, nearest, gone, personal } = told;
  const known = verdictOf(verdict.verdict);
  const remedy = remedyOf(told, last);
  return (
    <section className="part" aria-labelledby={id}>
      <header className="part-head">
        <h2 id={id}>{title}</h2>
      </header>
      <p className={`explained-verdict mark-${known === null ? 'unsaid' : VERDICT_WORDS[known].mark}`}>
        <MarkSign mark={known === null ? 'unsaid' : VERDICT_WORDS[known].mark} />{' '}
        {known === null ? verdict.verdict : VERDICT_WORDS[known].name}
        {verdict.reason === verdict.verdict ? null : <span className="soft"> {verdict.reason}</span>}
      </p>
      <p className="explained-says">{saysOf(told, last)}</p>
      {remedy === null ? null : (
        <p className="soft explained-remedy">
          <Words text={remedy} />
        </p>
      )}
      <ul className="tree">
        <Branch name="Route">
          {route === null ? (
            'none fits'
          ) : (
            <>
              <a href={hrefOf('routes', { open: route.route })} className="mono">
                {route.route}
              </a>
              <Soft>
                {route.line === null ? '' : `${route.line}. `}
                {route.upstream === null ? '' : `Answered by ${route.upstream}. `}
                {route.is_cached ? '' : 'Nothing of it is stored.'}
              </Soft>
              {route.rules.length === 0 ? null : (
                <ul>
                  {route.rules.map(({ rule, value, line }) => (
                    <li key={rule}>
                      <code>
                        {rule} = {value}
                      </code>
                      <Soft>{line ?? ''}</Soft>
                    </li>
                  ))}
                </ul>
              )}
            </>
          )}
        </Branch>
        {key === null ? null : (
          <Branch name="Key">
            <span className="mono breaks">
              <LongText text={key.key} />
            </span>
            <ul>
              {key.parts.map(({ part, name, value, from }, at) => (
                <li key={at}>
                  {part} {name === null ? null : <b>{name}</b>} <span className="mono breaks">{value === null ? null : <LongText text={value} />}</span>
                  <Soft>{from === null || from === 'the URL' ? '' : `from ${from}`}</Soft>
                </li>
              ))}
              {key.left_out.map(({ part, name, why }, at) => (
                <li key={`out-${at}`} className="tree-out">
                  {part} <del>{name}</del>
                  <Soft>left out: {why}</Soft>
                </li>
              ))}
            </ul>
          </Branch>
        )}
        {personal === null ? null : <Branch name="Cookies">{personal.says}</Branch>}
        {tiers.map(({ tier, says, variants }) => (
          <Branch key={tier} name={tier === 'memory' ? 'Memory' : tier === 'shared' ? 'Shared' : tier}>
            {says}
            {variants.length === 0 ? null : (
              <ul>
                {variants.map((variant, at) => (
                  <li key={at} className={variant.is_chosen ? 'tree-chosen' : undefined}>
                    {variant.is_chosen ? <b>this one: </b> : null}
                    {variant.differs_by.length === 0
                      ? 'for every request'
                      : `for ${variant.differs_by.map(([name, value]) => (value === null ? `requests without ${name}` : `${name}: ${value}`)).join(', ')}`}
                    <Soft>
                      {[
                        variant.status === null ? null : `status ${variant.status}`,
                        variant.age_seconds === null ? null : `${span(Math.round(variant.age_seconds))} old`,
                        variant.fresh_for_seconds === null
                          ? variant.state
                          : variant.fresh_for_seconds >= 0
                            ? `fresh for ${span(Math.round(variant.fresh_for_seconds))}`
                            : `stale since ${span(Math.round(-variant.fresh_for_seconds))}`,
                      ]
                        .filter((part) => part !== null)
                        .join(', ')}
                    </Soft>
                  </li>
                ))}
              </ul>
            )}
          </Branch>
        ))}
        {flight === null ? null : <Branch name="Under way">{flight.says}</Branch>}
        {gone === null ? null : (
          <Branch name="Gone">
            {gone.says} <a href={hrefOf('entries', { show: 'gone', key: key?.key ?? null })}>What went lately</a>
          </Branch>
        )}
        {last === null ? null : (
          <Branch name="Last time">
            {lastWords(last)}
            <Soft>
              {last.reason} <a href={hrefOf('explain', { request: last.id })}>That request</a>
            </Soft>
          </Branch>
        )}
        {nearest.length === 0 ? null : (
          <Branch name="Nearest">
            <ul>
              {nearest.map((near) => (
                <li key={near.key}>
                  {near.says}{' '}
                  <a href={hrefOf('entries', { key: near.key })} className="mono breaks" title={near.key}>
                    {cutLong(near.key)?.cut ?? near.key}
                  </a>
                </li>
              ))}
            </ul>
          </Branch>
        )}
        {next === null ? null : (
          <Branch name="Then">
            {next.says}
            <Soft>{next.asks_origin ? 'The origin is asked.' : ''}</Soft>
          </Branch>
        )}
      </ul>
    </section>
  );
}

/** That nothing is stored says little: why it went, or why the last answer was not kept, says more. */
function saysOf({ verdict, gone }: Told, last: Explanation['last']): string {
  if (verdict.reason !== 'uri-miss') return verdict.says;
  if (gone !== null) return `It was stored, and was ${gone.says}.`;
  if (last === null || !UNKEPT.has(last.reason)) return verdict.says;
  return `${verdict.says} The last answer was not kept, because ${reasonWords(last.reason).because}.`;
}

/** Why an answer is not stored, of all that there are. */
const UNKEPT = new Set(['set-cookie', 'cookie', 'authorization', 'private', 'no-store', 'no-freshness', 'status', 'vary-star', 'too-large', 'path-type', 'no-room', 'request-no-store', 'not-storable', 'must-understand', 'too-many-tags', 'endless', 'content-range', 'transfer-coding', 'unusual-request']);

/** That nothing is stored is no fault by itself: why the last answer was not kept is, if that is known. */
function remedyOf({ verdict, gone, nearest, personal }: Told, last: Explanation['last']): string | null {
  const isCookie = verdict.reason === 'cookie' || (verdict.reason === 'uri-miss' && last?.reason === 'cookie');
  if (isCookie) return cookieRemedy(personal);
  if (verdict.reason !== 'uri-miss') return verdict.verdict === 'hit' ? null : reasonWords(verdict.reason).remedy;
  const apart = parametersApart(nearest[0]);
  if (apart.length > 0) {
    const isTracking = apart.every((name) => TRACKING.test(name));
    const { line, beside } = denyWords(isTracking ? ['tracking'] : apart);
    const differs = `The same is stored, and differs in ${apart.map((name) => `\`${name}\``).join(' and ')} alone. If the answer does not depend on that, leave it out of the key: `;
    return `${differs}${line}${isTracking ? ' knows it and its kin' : ''}. ${beside}`;
  }
  if (gone !== null && ['evicted', 'purged'].includes(gone.cause)) return reasonWords(gone.cause).remedy;
  return last === null || ['uri-miss', 'hit'].includes(last.reason) ? null : reasonWords(last.reason).remedy;
}

/** Which of them is not known where the request was pasted without. */
function cookieRemedy(personal: Told['personal']): string | null {
  const { remedy } = reasonWords('cookie');
  if (personal === null) return `${remedy ?? ''} Add the field \`Cookie\` to the request to see which of its cookies are meant.`;
  const ignored = personal.cookies.filter((name) => personal.remedy?.includes(`"${name}"`));
  const others = personal.cookies.filter((name) => !ignored.includes(name) && name !== '');
  const named = (names: readonly string[]) => names.map((name) => `\`${name}\``).join(', ');
  const kept = others.length === 0 ? '' : `${named(others)} may tell who somebody is: then this is as it should be, and it must not be ignored. `;
  const isPlural = ignored.length > 1;
  const analytics = ignored.length === 0 ? '' : `If ${named(ignored)} ${isPlural ? 'are' : 'is'} analytics, ignore ${isPlural ? 'them' : 'it'}: \`${personal.remedy ?? ''}\` in the route. `;
  return `${kept}${analytics}If the answer is the same for everybody: \`cookies_matter = false\`.${others.length === 0 ? ' If it is a login, this is as it should be.' : ''}`;
}

/** Those that advertisements and newsletters add most often; the server knows them all. */
const TRACKING = /^(utm_\w+|gclid|fbclid|msclkid|dclid|yclid|mc_cid|mc_eid)$/i;

/** The parameters by which it differs from what is stored, if it differs by nothing else: the one has them, or another value of what is for advertisements. */
function parametersApart(near: Told['nearest'][number] | undefined): readonly string[] {
  const differs = near?.differs ?? [];
  const isApart = ({ part, name, asked, stored }: (typeof differs)[number]) =>
    part === 'query' && (asked === null || stored === null || TRACKING.test(name ?? ''));
  if (!differs.every(isApart)) return [];
  return differs.map(({ name }) => name).filter((name) => name !== null);
}

/** What was so then need not be so now. */
function lastWords({ at, verdict, reason, says }: NonNullable<Explanation['last']>): string {
  const known = verdictOf(verdict);
  const name = known === null ? verdict : VERDICT_WORDS[known].name;
  const when = at === null ? '' : ` at ${clockTime(at)}`;
  if (verdict === 'hit') return `${name}${when}.`;
  const { because } = reasonWords(reason);
  return because === reason ? `${name}${when}: ${says}` : `${name}${when}, because ${because}.`;
}

interface BranchProps {
  readonly name: string;
  readonly children: ReactNode;
}

function Branch({ name, children }: BranchProps) {
  return (
    <li>
      <span className="tree-name">{name}</span>
      <div>{children}</div>
    </li>
  );
}

interface SoftProps {
  readonly children: ReactNode;
}

function Soft({ children }: SoftProps) {
  return <span className="soft tree-soft">{children}</span>;
}
