// A field that has its say once one pauses. What the address says otherwise goes before.
import { useEffect, useState } from 'react';
import { Field } from '../../../ui/Field';

interface Props {
  readonly label: string;
  readonly value: string;
  readonly placeholder: string;
  readonly onChange: (value: string) => void;
}

/** Whoever types is not finished with each letter. */
const PAUSE_MS = 300;

export function Typed({ label, value, placeholder, onChange }: Props) {
  const [draft, setDraft] = useState({ text: value, of: value });
  const text = draft.of === value ? draft.text : value;
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [text, value, onChange]);
  return (
    <Field
      label={label}
      type="search"
      isCode
      value={text}
      placeholder={placeholder}
      onChange={(next) => setDraft({ text: next, of: value })}
    />
  );
}
