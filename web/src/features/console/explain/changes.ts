// What of an explanation is otherwise than in another one.
import type { Told } from '../api/explain';

export interface Change {
  readonly what: string;
  readonly before: string;
  readonly after: string;
}

/** In the order in which the tree has them; none: everything is the same. */
export function changesOf(before: Told, after: Told): readonly Change[] {
  const pairs: readonly (readonly [string, string, string])[] = [
    ['Verdict', before.verdict.verdict, after.verdict.verdict],
    ['Reason', before.verdict.reason, after.verdict.reason],
    ['Route', before.route?.route ?? 'none', after.route?.route ?? 'none'],
    ['Key', before.key?.key ?? 'none', after.key?.key ?? 'none'],
    ...partChanges(before, after),
    ...tierNames(before, after).map(
      (tier) => [`In ${tier}`, holds(before, tier), holds(after, tier)] as const,
    ),
    ['Variant', variantOf(before), variantOf(after)],
    ['Next request', before.next?.says ?? '', after.next?.says ?? ''],
  ];
  return pairs.filter(([, one, other]) => one !== other).map(([what, one, other]) => ({ what, before: one, after: other }));
}

function partChanges(before: Told, after: Told): readonly (readonly [string, string, string])[] {
  const told = (explanation: Told) =>
    new Map(explanation.key?.parts.map(({ part, name, value }) => [[part, name].filter((word) => word !== null).join(' '), value ?? '']));
  const [one, other] = [told(before), told(after)];
  return [...new Set([...one.keys(), ...other.keys()])].map(
    (name) => [`Key’s ${name}`, one.get(name) ?? 'not there', other.get(name) ?? 'not there'] as const,
  );
}

function tierNames(...all: readonly Told[]): readonly string[] {
  return [...new Set(all.flatMap(({ tiers }) => tiers.map(({ tier }) => tier)))];
}

function holds({ tiers }: Told, name: string): string {
  const tier = tiers.find(({ tier }) => tier === name);
  return tier === undefined ? 'not asked' : (tier.holds ?? tier.says);
}

function variantOf({ tiers }: Told): string {
  const chosen = tiers.flatMap(({ variants }) => variants).find(({ is_chosen }) => is_chosen);
  if (chosen === undefined) return 'none';
  return chosen.differs_by.map(([name, value]) => `${name}: ${value}`).join(', ') || 'the only one';
}
