// One glance: all is well, or what is not, the gravest first.
import { MarkSign } from '../../../ui/MarkSign';
import type { Mark } from '../../../ui/mark';
import { hrefOf } from '../place';
import type { Finding, Gravity } from './health';
import './Health.css';

interface Props {
  readonly findings: readonly Finding[];
  /** What is said where nothing is wrong. */
  readonly summary: string;
  /** Why nothing is known of the present: then no finding is of now. `null`: it is known. */
  readonly unknown: string | null;
}

const MARKS: Readonly<Record<Gravity, Mark>> = { bad: 'failed', watch: 'miss' };
const NAMES: Readonly<Record<Gravity, string>> = { bad: 'Bad', watch: 'Worth a look' };

export function Health({ findings, summary, unknown }: Props) {
  const worst = findings[0];
  if (unknown !== null) {
    return (
      <section className="health health-old" aria-label="Health">
        <h2 className="health-title">
          <MarkSign mark="unsaid" /> Not known
        </h2>
        <p>{unknown}</p>
      </section>
    );
  }
  return (
    <section className="health" aria-label="Health">
      {worst === undefined ? (
        <>
          <h2 className="health-title">
            <MarkSign mark="hit" /> All is well
          </h2>
          <p>{summary}</p>
        </>
      ) : (
        <>
          <h2 className={`health-title mark-${MARKS[worst.gravity]}`}>
            <MarkSign mark={MARKS[worst.gravity]} /> {worst.title}
          </h2>
          <p>
            {worst.says} <More link={worst.link} />
          </p>
          {findings.length === 1 ? null : (
            <ul className="plain-list health-more">
              {findings.slice(1).map(({ gravity, title, says, link }) => (
                <li key={title}>
                  <MarkSign mark={MARKS[gravity]} /> <span className="visually-hidden">{NAMES[gravity]}: </span>
                  <b>{title}.</b> {says} <More link={link} />
                </li>
              ))}
            </ul>
          )}
        </>
      )}
    </section>
  );
}

interface MoreProps {
  readonly link: Finding['link'];
}

function More({ link }: MoreProps) {
  return link === undefined ? null : <a href={hrefOf(link.view)}>{link.name}</a>;
}
