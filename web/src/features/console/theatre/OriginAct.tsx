// Has the origin take its time, and gives it back.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Segments } from '../../../ui/Segments';
import { useApi } from '../api/ApiContext';
import { slowOrigin } from '../api/stage';
import type { OriginAct as Origin } from '../api/stage';
import { Act } from './Act';
import type { ActState } from './ActStatus';
import { delaysOf, delayWords } from './crowd';

interface Props {
  readonly origin: Origin;
}

export function OriginAct({ origin }: Props) {
  const api = useApi();
  const client = useQueryClient();
  const made = useMutation({
    mutationFn: (ms: number) => slowOrigin(api, ms),
    onSuccess: () => client.invalidateQueries({ queryKey: ['stage'] }),
  });
  const chosen = made.isPending ? made.variables : origin.ms;
  const options = delaysOf(origin).map((ms) => ({
    value: String(ms),
    name: ms === origin.usual_ms ? `${delayWords(ms)}, as usual` : delayWords(ms),
  }));
  const state = (): ActState => {
    if (made.isPending) return { kind: 'underWay', says: 'Being told…' };
    if (made.error !== null) return { kind: 'failed', error: made.error };
    if (origin.ms === origin.usual_ms) return made.data === undefined ? { kind: 'idle' } : { kind: 'done', says: 'As usual again.' };
    const now = origin.ms === 0 ? 'answers at once' : `takes ${delayWords(origin.ms)} for each answer`;
    return {
      kind: 'holds',
      says: `The origin ${now}, instead of ${delayWords(origin.usual_ms)}. “${delayWords(origin.usual_ms)}, as usual” takes that back.`,
    };
  };
  return (
    <Act title="Slow the origin" about={origin.says} state={state()}>
      <Segments
        label="Time for each answer"
        labelHidden
        options={options}
        value={String(chosen)}
        onChoose={(ms) => {
          if (!made.isPending) made.mutate(Number(ms));
        }}
      />
    </Act>
  );
}
