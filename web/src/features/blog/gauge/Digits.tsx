// A reading with its unused places shown faintly, as on a counter: it never moves while it runs.

interface Props {
  /** Digits, perhaps with a point; empty when there is no reading yet. */
  readonly value: string;
}

const PLACES = 4;

export function Digits({ value }: Props) {
  const unused = '0'.repeat(Math.max(PLACES - value.replace('.', '').length, 0));
  return (
    <>
      {/* Drawn by the stylesheet: it is ornament, not text to be read, searched or copied. */}
      <span className="gauge-unused" data-places={unused} />
      {value}
    </>
  );
}
