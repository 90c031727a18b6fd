// Asks about a request by other rules as well, and shows both outcomes, or why they cannot be compared.
import { keepPreviousData, useQuery } from '@tanstack/react-query';
import { Notice } from '../../../ui/Notice';
import { AskFailed } from '../../../wire/ask';
import { useApi } from '../api/ApiContext';
import { explain } from '../api/explain';
import type { Request } from '../api/explain';
import { problemOf } from '../api/trouble';
import { Comparison } from './Comparison';
import { namedAfter } from './comparison';
import { refusalOf } from './policy';
import type { OtherRules } from './policy';

interface Props {
  readonly request: Request;
  /** With a text. */
  readonly rules: OtherRules;
}

export function Compared({ request, rules }: Props) {
  const api = useApi();
  const { data, error } = useQuery({
    queryKey: ['explain', 'compared', request, rules.text],
    queryFn: ({ signal }) => explain(api, request, rules.text, signal),
    // The last comparison stays while the next one is on its way, and does not flicker.
    placeholderData: keepPreviousData,
    staleTime: 0,
    // A text is long, and each change to it is another question.
    gcTime: 0,
  });
  if (error !== null) return <Refused error={error} />;
  if (data === undefined) return <p className="soft">On its way…</p>;
  if (data.with_policy === null) {
    return <p className="soft">This server does not compare rules.</p>;
  }
  return <Comparison now={data} then={namedAfter(data.with_policy, rules.file)} name={rules.file ?? 'the other rules'} />;
}

interface RefusedProps {
  readonly error: Error;
}

/** The server's own words name the line and the column: they are shown as they are. */
function Refused({ error }: RefusedProps) {
  const trouble = error instanceof AskFailed ? error.trouble : null;
  if (trouble?.kind !== 'refused' || trouble.status !== 422) {
    return <Notice {...problemOf(error, 'what other rules would do')} />;
  }
  const { said } = trouble;
  return <Notice {...refusalOf(said)} detail={said === '' ? null : said} />;
}
