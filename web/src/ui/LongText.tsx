// Text of which a long one is cut in its middle, with the whole of it on demand.
import { useState } from 'react';
import { cutLong } from './cutLong';
import { wholeNumber } from './format';

interface Props {
  readonly text: string;
}

export function LongText({ text }: Props) {
  const [isWhole, setWhole] = useState(false);
  const long = cutLong(text);
  if (long === null) return text;
  return (
    <>
      {isWhole ? text : long.cut}{' '}
      <button type="button" className="link-button" aria-expanded={isWhole} onClick={() => setWhole(!isWhole)}>
        {isWhole ? 'Less of it' : `All ${wholeNumber(long.characters)} characters`}
      </button>
    </>
  );
}
