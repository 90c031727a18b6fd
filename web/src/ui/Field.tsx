// A line of text with its label above it.
import { useId } from 'react';
import type { RefObject } from 'react';
import './Field.css';

interface Props {
  readonly label: string;
  readonly value: string;
  readonly onChange: (value: string) => void;
  readonly placeholder?: string;
  /** `password`: not to be read over a shoulder. */
  readonly type?: 'text' | 'search' | 'password';
  /** Something is wrong with it: what. */
  readonly fault?: string | null;
  /** A word about it, always there. */
  readonly hint?: string;
  /** Keys, addresses and code look better so. */
  readonly isCode?: boolean;
  /** For whoever gives it the focus. */
  readonly inputRef?: RefObject<HTMLInputElement | null>;
}

export function Field({ label, value, onChange, placeholder, type = 'text', fault = null, hint, isCode = false, inputRef }: Props) {
  const id = useId();
  const noteId = `${id}-note`;
  const note = fault ?? hint ?? null;
  return (
    <div className={isCode ? 'field field-code' : 'field'}>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        ref={inputRef}
        type={type}
        value={value}
        placeholder={placeholder}
        autoComplete="off"
        autoCapitalize="none"
        spellCheck={false}
        aria-invalid={fault !== null}
        aria-describedby={note === null ? undefined : noteId}
        onChange={(event) => onChange(event.target.value)}
      />
      {note === null ? null : (
        <p id={noteId} className={fault === null ? 'field-note' : 'field-note field-fault'}>
          {note}
        </p>
      )}
    </div>
  );
}
