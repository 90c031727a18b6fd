// What two sets of rules make of one request, side by side: the outcome in full, and of the rest what differs.
import type { Told } from '../api/explain';
import { changesOf } from './changes';

export interface Row {
  readonly what: string;
  readonly now: string;
  readonly then: string;
  readonly differs: boolean;
}

/** First what one asks for, differing or not; then all else that differs. */
export function comparisonOf(now: Told, then: Told): readonly Row[] {
  const outcome = [
    row('Verdict', now, then, ({ verdict }) => verdict.verdict),
    row('Because', now, then, ({ verdict }) => verdict.says || verdict.reason),
    row('Next request', now, then, ({ next }) => next?.says ?? '–'),
    row('Route', now, then, ({ route }) => route?.route ?? 'none fits'),
    row('Service', now, then, ({ route }) => route?.upstream ?? '–'),
    row('Key', now, then, ({ key }) => key?.key ?? 'none: it passes'),
  ];
  const rest = [...rulesOf(now, then), ...leftOutOf(now, then), ...restOf(now, then)];
  return [...outcome, ...rest.filter(({ differs }) => differs)];
}

/** Of a file, its own lines; of what was pasted, the server's word for it. */
export function namedAfter(told: Told, file: string | null): Told {
  if (file === null || told.route === null) return told;
  const name = (line: string | null) => line?.replace(/^policy(?=:)/, () => file) ?? null;
  const { route } = told;
  return { ...told, route: { ...route, line: name(route.line), rules: route.rules.map((rule) => ({ ...rule, line: name(rule.line) })) } };
}

function row(what: string, now: Told, then: Told, say: (told: Told) => string): Row {
  const [one, other] = [say(now), say(then)];
  return { what, now: one, then: other, differs: one !== other };
}

function rulesOf(now: Told, then: Told): readonly Row[] {
  const names = new Set([now, then].flatMap(({ route }) => route?.rules.map(({ rule }) => rule) ?? []));
  return [...names]
    .toSorted()
    .map((name) => row(`Rule ${name}`, now, then, ({ route }) => route?.rules.find(({ rule }) => rule === name)?.value ?? 'not said'));
}

function leftOutOf(now: Told, then: Told): readonly Row[] {
  const names = new Set([now, then].flatMap(({ key }) => key?.left_out.map(({ part, name }) => partName(part, name)) ?? []));
  return [...names].map((name) =>
    row(`In the key, ${name}`, now, then, ({ key }) => {
      const left = key?.left_out.find(({ part, name: called }) => partName(part, called) === name);
      return left === undefined ? 'as it stands' : `left out: ${left.why}`;
    }),
  );
}

function partName(part: string, name: string | null): string {
  return name === null ? part : `${part} ${name}`;
}

/** What the outcome has told already is not told twice. */
const TOLD = new Set(['Verdict', 'Reason', 'Route', 'Key', 'Next request']);

function restOf(now: Told, then: Told): readonly Row[] {
  // Where there is no key, its parts are not there either.
  const hasKeys = now.key !== null && then.key !== null;
  return changesOf(now, then)
    .filter(({ what }) => !TOLD.has(what) && (hasKeys || !what.startsWith('Key’s')))
    .map(({ what, before, after }) => ({ what, now: before, then: after, differs: true }));
}
