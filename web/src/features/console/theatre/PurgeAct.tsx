// Purges a tag on the spot, softly unless one says otherwise; its receipt in a line.
import { useMutation, useQuery } from '@tanstack/react-query';
import { useState } from 'react';
import { ActionButton } from '../../../ui/ActionButton';
import { Field } from '../../../ui/Field';
import { plural } from '../../../ui/format';
import { Segments } from '../../../ui/Segments';
import { useApi } from '../api/ApiContext';
import { fetchTags } from '../api/entries';
import type { Tags } from '../api/entries';
import { purge } from '../api/purges';
import type { Mode, Purged } from '../api/purges';
import { hrefOf } from '../place';
import { farWords } from '../words/tiers';
import { Act } from './Act';
import type { ActState } from './ActStatus';

const MODES = [
  { value: 'soft', name: 'Soft: stale' },
  { value: 'hard', name: 'Hard: gone' },
] as const;

/** So many are named, of those on most bytes. */
const SOME_TAGS = 3;

interface Wanted {
  readonly tag: string;
  readonly mode: Mode;
}

export function PurgeAct() {
  const api = useApi();
  const [tag, setTag] = useState('');
  const [mode, setMode] = useState<Mode>('soft');
  /** The purge that takes a second press, and has had one. */
  const [asked, setAsked] = useState<string | null>(null);
  const [isTried, setTried] = useState(false);
  const tags = useQuery({ queryKey: ['tags', SOME_TAGS], queryFn: ({ signal }) => fetchTags(api, SOME_TAGS, signal) });
  const made = useMutation({ mutationFn: ({ tag: name, mode: how }: Wanted) => purge(api, { tags: [name] }, how, null) });
  const name = tag.trim();
  const isGrave = mode === 'hard';
  const isAsked = isGrave && asked === name && name !== '';

  return (
    <Act title="Purge a tag" about="what carries it is fetched anew by its next readers" state={stateOf(made)}>
      <form
        className="act-form"
        onSubmit={(event) => {
          event.preventDefault();
          setTried(name === '');
          if (name === '' || made.isPending) return;
          setAsked(isGrave && !isAsked ? name : null);
          if (!isGrave || isAsked) made.mutate({ tag: name, mode });
        }}
      >
        <Field
          label="Tag"
          isCode
          value={tag}
          placeholder={tags.data?.tags[0]?.tag ?? 'post:1'}
          hint={hintOf(tags.data)}
          fault={isTried && name === '' ? 'Which one?' : null}
          onChange={setTag}
        />
        <Segments label="How" labelHidden options={MODES} value={mode} onChoose={setMode} />
        <div className="act-buttons">
          <button type="submit" className="action action-main" aria-disabled={made.isPending || name === ''}>
            {name === '' ? 'Purge it' : isAsked ? `Yes: purge ${name}` : `Purge ${name}`}
          </button>
          {isAsked ? (
            <>
              <ActionButton onPress={() => setAsked(null)}>No</ActionButton>
              <span role="status">This cannot be taken back.</span>
            </>
          ) : null}
        </div>
      </form>
    </Act>
  );
}

function hintOf(tags: Tags | undefined): string {
  if (tags === undefined) return 'Everything that carries it.';
  if (tags.tags.length === 0) return 'Nothing that is stored has a tag yet.';
  return `Stored now, for instance: ${tags.tags.map(({ tag }) => tag).join(', ')}`;
}

interface Made {
  readonly isPending: boolean;
  readonly variables: Wanted | undefined;
  readonly data: Purged | undefined;
  readonly error: Error | null;
}

function stateOf({ isPending, variables, data, error }: Made): ActState {
  const { tag = '', mode = 'soft' } = variables ?? {};
  if (isPending) return { kind: 'underWay', says: `${tag} is being purged…` };
  if (error !== null) return { kind: 'failed', error };
  if (data === undefined) return { kind: 'idle' };
  return {
    kind: 'done',
    says: (
      <>
        {receiptSays(tag, mode, data)} <a href={hrefOf('purge')}>The whole receipt</a>
      </>
    ),
  };
}

function receiptSays(tag: string, mode: Mode, { purged, tiers, receipts }: Purged): string {
  const count = purged === null ? '' : `, ${plural(purged, 'entry', 'entries')}`;
  const what = `${tag} is ${mode === 'soft' ? 'stale' : 'gone'}${count}`;
  const told = tiers === null ? receipts.flatMap((receipt) => receipt.tiers) : [tiers.memory, ...(tiers.shared === null ? [] : [tiers.shared]), ...tiers.cdn];
  return `${what}${farWords(told)}`;
}
