// Something that is on or off. The word beside the knob says which, for the eye as well.
import './Switch.css';

interface Props {
  readonly label: string;
  readonly on: boolean;
  readonly onSwitch: (on: boolean) => void;
  /** Pressing it does nothing, for now; focus stays where it is. */
  readonly resting?: boolean;
  /** Id of the text that says what it does, or why it rests. */
  readonly describedBy?: string;
}

export function Switch({ label, on, onSwitch, resting = false, describedBy }: Props) {
  return (
    <button
      type="button"
      role="switch"
      className="switch"
      aria-checked={on}
      aria-disabled={resting}
      aria-describedby={describedBy}
      onClick={resting ? undefined : () => onSwitch(!on)}
    >
      <span>{label}</span>
      {/* The state is announced by itself. */}
      <span className="switch-word" aria-hidden="true">
        {on ? 'on' : 'off'}
      </span>
      <span className="switch-track" aria-hidden="true" />
    </button>
  );
}
