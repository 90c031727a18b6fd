// One of a few, all of which are in sight.
import { useId } from 'react';
import './Segments.css';

interface Props<T extends string> {
  readonly label: string;
  readonly options: readonly { readonly value: T; readonly name: string }[];
  readonly value: T;
  readonly onChoose: (value: T) => void;
  /** The label is for those who listen: those who look see what it is about. */
  readonly labelHidden?: boolean;
}

export function Segments<T extends string>({ label, options, value, onChoose, labelHidden = false }: Props<T>) {
  const name = useId();
  return (
    <fieldset className="segments">
      <legend className={labelHidden ? 'visually-hidden' : undefined}>{label}</legend>
      <div className="segments-row">
        {options.map((option) => (
          <label key={option.value} className="segment">
            <input
              type="radio"
              name={name}
              value={option.value}
              checked={option.value === value}
              onChange={() => onChoose(option.value)}
            />
            <span>{option.name}</span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
