// Sends a crowd: many requests at once for one path, and says what they cost.
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useEffect, useState } from 'react';
import { ActionButton } from '../../../ui/ActionButton';
import { Field } from '../../../ui/Field';
import { plural } from '../../../ui/format';
import { useApi } from '../api/ApiContext';
import { sendCrowd } from '../api/stage';
import type { Crowd, CrowdOffer, CrowdReport } from '../api/stage';
import { Act } from './Act';
import type { ActState } from './ActStatus';
import { crowdOf, crowdSays } from './crowd';

interface Props {
  readonly offer: CrowdOffer;
}

export function CrowdAct({ offer }: Props) {
  const api = useApi();
  const [path, setPath] = useState(offer.path);
  const [host, setHost] = useState('');
  const [requests, setRequests] = useState(String(offer.usual));
  const [isTried, setTried] = useState(false);
  const client = useQueryClient();
  const [leaving, setLeaving] = useState<AbortController | null>(null);
  const sent = useMutation({
    mutationFn: ({ crowd, signal }: Sending) => sendCrowd(api, crowd, signal),
    // What it has fetched may have tags.
    onSuccess: () => client.invalidateQueries({ queryKey: ['tags'] }),
  });
  // Where the view is left, nobody is there to read what would come of it.
  useEffect(() => () => leaving?.abort(), [leaving]);

  const wanted = crowdOf({ path, host, requests }, offer);
  const fault = (field: string) => (isTried && wanted.kind === 'unreadable' && wanted.field === field ? wanted.why : null);
  const send = () => {
    if (sent.isPending) return;
    setTried(wanted.kind === 'unreadable');
    if (wanted.kind !== 'crowd') return;
    const next = new AbortController();
    setLeaving(next);
    sent.mutate({ crowd: wanted.crowd, signal: next.signal });
  };

  return (
    <Act title="Send a crowd" about={`as readers of ${offer.at} would come, all at once`} state={stateOf(sent)}>
      <form
        className="act-form"
        onSubmit={(event) => {
          event.preventDefault();
          send();
        }}
      >
        <div className="act-fields">
          <Field label="Path" isCode value={path} placeholder={offer.path} fault={fault('path')} onChange={setPath} />
          <Field label="Requests" value={requests} placeholder={String(offer.usual)} fault={fault('requests')} onChange={setRequests} />
          {offer.takes_host ? (
            <Field
              label="Host, if another"
              isCode
              value={host}
              placeholder={offer.at.replace(/^https?:\/\//, '')}
              fault={fault('host')}
              onChange={setHost}
            />
          ) : null}
        </div>
        <div className="act-buttons">
          <button type="submit" className="action action-main" aria-disabled={sent.isPending}>
            {wanted.kind === 'crowd' ? `Send ${plural(wanted.crowd.requests, 'request', 'requests')}` : 'Send it'}
          </button>
          {sent.isPending ? <ActionButton onPress={() => leaving?.abort()}>Stop it</ActionButton> : null}
        </div>
      </form>
    </Act>
  );
}

interface Sending {
  readonly crowd: Crowd;
  readonly signal: AbortSignal;
}

interface Sent {
  readonly isPending: boolean;
  readonly variables: Sending | undefined;
  readonly data: CrowdReport | undefined;
  readonly error: Error | null;
}

function stateOf({ isPending, variables, data, error }: Sent): ActState {
  if (isPending) {
    const { requests = 0, path = '' } = variables?.crowd ?? {};
    return { kind: 'underWay', says: `${plural(requests, 'request', 'requests')} for ${path} on the way…` };
  }
  if (error !== null) {
    return error.name === 'AbortError' ? { kind: 'done', says: 'Stopped: those without an answer were given up.' } : { kind: 'failed', error };
  }
  return data === undefined ? { kind: 'idle' } : { kind: 'done', says: crowdSays(data) };
}
