// Purges one entry, softly or for good, and says what came of it.
import { useMutation } from '@tanstack/react-query';
import { ActionButton } from '../../../ui/ActionButton';
import { plural } from '../../../ui/format';
import { useApi } from '../api/ApiContext';
import { purge } from '../api/purges';
import type { Mode } from '../api/purges';
import { problemOf } from '../api/trouble';

interface Props {
  readonly entryKey: string;
  /** The cache that holds it; others may have the same key. */
  readonly cache: string;
  readonly onPurged: () => void;
}

export function PurgeEntry({ entryKey, cache, onPurged }: Props) {
  const api = useApi();
  const made = useMutation({
    mutationFn: (mode: Mode) => purge(api, { keys: [entryKey] }, mode, cache === '' ? null : cache),
    onSuccess: onPurged,
  });
  return (
    <div className="entry-purge">
      <ActionButton resting={made.isPending} onPress={() => made.mutate('soft')}>
        Mark it stale
      </ActionButton>
      <ActionButton resting={made.isPending} onPress={() => made.mutate('hard')}>
        Remove it
      </ActionButton>
      <p className="soft" role="status">
        {made.error !== null
          ? `${problemOf(made.error, 'what came of it').title}.`
          : made.data === undefined
            ? ''
            : `${made.variables === 'soft' ? 'Marked stale' : 'Removed'}: ${plural(made.data.purged ?? 1, 'entry', 'entries')}. Purge shows how far it got.`}
      </p>
    </div>
  );
}
