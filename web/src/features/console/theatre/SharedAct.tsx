// Cuts the server off from its shared tier, and mends that.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { ActionButton } from '../../../ui/ActionButton';
import { useApi } from '../api/ApiContext';
import { cutOff } from '../api/stage';
import type { SharedAct as Shared } from '../api/stage';
import { Act } from './Act';
import type { ActState } from './ActStatus';

interface Props {
  readonly shared: Shared;
}

export function SharedAct({ shared }: Props) {
  const api = useApi();
  const client = useQueryClient();
  const made = useMutation({
    mutationFn: (on: boolean) => cutOff(api, on),
    onSuccess: () => client.invalidateQueries({ queryKey: ['stage'] }),
  });
  const state = (): ActState => {
    if (made.isPending) return { kind: 'underWay', says: made.variables ? 'Being cut off…' : 'Being mended…' };
    if (made.error !== null) return { kind: 'failed', error: made.error };
    if (shared.on) {
      return { kind: 'holds', says: 'Out of reach: readers are answered from memory and the origin. “Mend it” takes that back.' };
    }
    return made.data === undefined ? { kind: 'idle' } : { kind: 'done', says: 'In reach again: it is used as soon as it has answered.' };
  };
  return (
    <Act title="Break the shared tier" about={shared.place} state={state()}>
      <div className="act-buttons">
        <ActionButton rank="main" resting={made.isPending} onPress={() => made.mutate(!shared.on)}>
          {shared.on ? 'Mend it' : 'Cut it off'}
        </ActionButton>
      </div>
    </Act>
  );
}
