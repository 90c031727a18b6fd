// Where another larder.toml is pasted or chosen. It is read in the page, and goes nowhere but into the question.
import { useId, useState } from 'react';
import type { ChangeEvent } from 'react';
import { ActionButton } from '../../../ui/ActionButton';
import { NO_RULES, tooLarge } from './policy';
import type { OtherRules } from './policy';
import './PolicyField.css';

interface Props {
  readonly rules: OtherRules;
  readonly onChange: (rules: OtherRules) => void;
}

export function PolicyField({ rules, onChange }: Props) {
  const id = useId();
  const [fault, setFault] = useState<string | null>(null);
  const change = (next: OtherRules) => {
    const large = tooLarge(new Blob([next.text]).size);
    setFault(large);
    if (large === null) onChange(next);
  };
  const choose = async ({ target }: ChangeEvent<HTMLInputElement>) => {
    const file = target.files?.[0];
    if (file === undefined) return;
    const large = tooLarge(file.size);
    if (large !== null) {
      setFault(large);
    } else {
      try {
        change({ text: await file.text(), file: file.name });
      } catch {
        setFault(`${file.name} could not be read.`);
      }
    }
    // The same file, mended, is chosen again.
    target.value = '';
  };
  return (
    <section className="part policy" aria-labelledby={`${id}-title`}>
      <header className="part-head">
        <h2 id={`${id}-title`}>Other rules</h2>
        <p>What would become of the same request by another larder.toml?</p>
      </header>
      <div className="field field-code">
        <label htmlFor={id}>{rules.file === null ? 'Its text' : `The text of ${rules.file}`}</label>
        <textarea
          id={id}
          rows={rules.text === '' ? 2 : 8}
          value={rules.text}
          spellCheck={false}
          autoCapitalize="none"
          placeholder={'[[route]]\npath = "/posts/{id}"'}
          aria-invalid={fault !== null}
          aria-describedby={`${id}-note`}
          onChange={(event) => change({ text: event.target.value, file: rules.file })}
        />
      </div>
      <p id={`${id}-note`} className={fault === null ? 'soft' : 'field-note field-fault'}>
        {fault ?? 'Nothing changes by it, and nothing that it names is opened.'}
      </p>
      <div className="policy-actions">
        <label className="action action-side policy-choose">
          Choose a file
          <input type="file" accept=".toml,.conf,.txt,text/plain" className="policy-file" onChange={(event) => void choose(event)} />
        </label>
        {rules.text === '' ? null : (
          <ActionButton
            onPress={() => {
              setFault(null);
              onChange(NO_RULES);
            }}
          >
            Today’s rules only
          </ActionButton>
        )}
      </div>
    </section>
  );
}
