// Asks for a token. What is typed goes into a header of each question, and nowhere else.
import { useEffect, useRef, useState } from 'react';
import type { SubmitEvent } from 'react';
import { ActionButton } from '../../../ui/ActionButton';
import { Field } from '../../../ui/Field';
import type { Entry } from '../api/session';
import './TokenForm.css';

interface Props {
  readonly entry: Extract<Entry, { kind: 'asked' }>;
  readonly onShow: (token: string) => void;
  /** Without it only what needs none goes on. */
  readonly onDismiss: () => void;
}

export function TokenForm({ entry, onShow, onDismiss }: Props) {
  const [token, setToken] = useState('');
  const isForChanges = entry.wish === 'changing';
  const fieldRef = useRef<HTMLInputElement>(null);
  useEffect(() => {
    // Whoever is typing elsewhere goes on there.
    const isTyping = document.activeElement?.matches('input[type="text"], input[type="search"], textarea') === true;
    if (!isTyping) fieldRef.current?.focus();
  }, [entry]);
  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    if (token.trim() !== '') onShow(token);
  };
  return (
    <form className="token" onSubmit={submit} aria-labelledby="token-title">
      <h2 id="token-title">{isForChanges ? 'Changes need the write token' : 'This console needs a token'}</h2>
      <p>
        {isForChanges
          ? 'What you have may read. Show the token for changes, and do it again.'
          : 'Its listener was given one. It is kept in the memory of this page until you close or reload it, and nowhere else.'}
      </p>
      <Field
        label="Token"
        inputRef={fieldRef}
        type="password"
        isCode
        value={token}
        onChange={setToken}
        fault={entry.wasShown ? `That one did not do: ${entry.said || 'the server refused it'}.` : null}
      />
      <div className="token-actions">
        <button type="submit" className="action action-main">
          Show it
        </button>
        {isForChanges ? <ActionButton onPress={onDismiss}>Go on reading</ActionButton> : null}
      </div>
    </form>
  );
}
