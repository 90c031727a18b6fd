// A mark in the size of the text beside it.
import type { Mark } from './mark';
import { MarkShape } from './MarkShape';

interface Props {
  readonly mark: Mark;
}

export function MarkSign({ mark }: Props) {
  return (
    <svg className={`mark-sign mark-${mark}`} viewBox="-8 -8 16 16" aria-hidden="true" focusable="false">
      <MarkShape mark={mark} x={0} y={0} />
    </svg>
  );
}
