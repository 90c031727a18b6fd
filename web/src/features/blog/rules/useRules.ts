// The rules of the cache, kept up with: another page, or a backend that began anew, may have changed them.
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { changeRule, fetchRules } from '../api';
import type { Config, Rules, SwitchName } from '../api';
import { rulesProblem } from '../problems';
import type { Problem } from '../problems';

export type RulesView =
  /** Not told yet. */
  | { readonly kind: 'unknown'; readonly last: null }
  | { readonly kind: 'live'; readonly rules: Rules; readonly changing: boolean; readonly problem: Problem | null }
  /** The backend does not tell them; these are from before, if there are any. */
  | { readonly kind: 'lost'; readonly last: Rules | null };

/** Looking is cheap: the backend asks nobody. */
const LOOK_EVERY_MS = 1000;

export function useRules(config: Config): readonly [RulesView, (name: SwitchName, on: boolean) => void] {
  const client = useQueryClient();
  const queryKey = ['rules', config.backendUrl];
  const query = useQuery({
    queryKey,
    queryFn: ({ signal }) => fetchRules(config, signal),
    refetchInterval: LOOK_EVERY_MS,
    refetchOnWindowFocus: true,
  });
  const change = useMutation({
    mutationFn: ({ name, on }: Change) => changeRule(config, name, on),
    onSuccess: async (rules) => {
      // A look that began before the change may still bring what was before.
      await client.cancelQueries({ queryKey });
      client.setQueryData(queryKey, rules);
    },
  });
  return [viewOf(query, change), (name, on) => change.mutate({ name, on })];
}

interface Change {
  readonly name: SwitchName;
  readonly on: boolean;
}

function viewOf(
  query: { readonly data: Rules | undefined; readonly error: Error | null },
  change: { readonly isPending: boolean; readonly error: Error | null },
): RulesView {
  if (query.error !== null) return { kind: 'lost', last: query.data ?? null };
  if (query.data === undefined) return { kind: 'unknown', last: null };
  const problem = change.error === null ? null : rulesProblem(change.error);
  return { kind: 'live', rules: query.data, changing: change.isPending, problem };
}

/** The last that was told. */
export function rulesOf(view: RulesView): Rules | null {
  return view.kind === 'live' ? view.rules : view.last;
}
