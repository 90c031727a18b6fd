// A line of text with its label above it, or several.
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
  /** What is pasted with several lines keeps them: a browser makes one of them otherwise. */
  readonly isLines?: boolean;
  /** Something is wrong with it: what. */
  readonly fault?: string | null;
  /** A word about it, always there. */
  readonly hint?: string;
  /** Keys, addresses and code look better so. */
  readonly isCode?: boolean;
  /** For whoever gives it the focus. */
  readonly inputRef?: RefObject<HTMLInputElement | null>;
}

/** More of them scroll. */
const MOST_ROWS = 8;

export function Field({ label, value, onChange, placeholder, type = 'text', isLines = false, fault = null, hint, isCode = false, inputRef }: Props) {
  const id = useId();
  const noteId = `${id}-note`;
  const note = fault ?? hint ?? null;
  const shared = {
    id,
    value,
    placeholder,
    autoComplete: 'off',
    autoCapitalize: 'none',
    spellCheck: false,
    'aria-invalid': fault !== null,
    'aria-describedby': note === null ? undefined : noteId,
  };
  return (
    <div className={isCode ? 'field field-code' : 'field'}>
      <label htmlFor={id}>{label}</label>
      {isLines ? (
        <textarea {...shared} rows={Math.min(MOST_ROWS, value.split('\n').length)} onChange={(event) => onChange(event.target.value)} />
      ) : (
        <input {...shared} ref={inputRef} type={type} onChange={(event) => onChange(event.target.value)} />
      )}
      {note === null ? null : (
        <p id={noteId} className={fault === null ? 'field-note' : 'field-note field-fault'}>
          {note}
        </p>
      )}
    </div>
  );
}
