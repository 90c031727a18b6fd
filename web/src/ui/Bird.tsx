// Larder's bird. It keeps what it has, naps, and opens an eye only when it is kept waiting.
import './Bird.css';

export type BirdMood = 'napping' | 'watching' | 'startled';

interface Props {
  readonly mood: BirdMood;
}

export function Bird({ mood }: Props) {
  return (
    <svg className={`bird bird-${mood}`} viewBox="0 0 112 92" aria-hidden="true" focusable="false">
      <g className="bird-snores">
        <text x="16" y="30" fontSize="12">
          z
        </text>
        <text x="7" y="17" fontSize="15">
          z
        </text>
      </g>
      <path className="bird-leg" d="M50 80v9m-5 0h10M63 80v9m-5 0h10" />
      <g className="bird-body">
        <path className="bird-tail" d="M86 56l23 1c2 0 2 3 0 4l-6 2 3 2c2 1 1 4-1 4L80 71z" />
        <path className="bird-coat" d="M27 51c-1-20 12-34 30-34 20 0 35 15 36 34 0 20-15 32-36 32S28 71 27 51z" />
        <path className="bird-belly" d="M27.500 48c7-6 20-4 26 6 5 9 4 21-1 28.800C38 81.500 27 69 27.500 48z" />
        <path className="bird-wing" d="M62 44c12-4 26 3 32 15 1 2 0 4-3 4-13 5-27 2-32-8-2-5-1-10 3-11z" />
        <path className="bird-feather" d="M70 58c6 2 12 1 17-1M67 52c6 3 14 3 20 1" />
        <path className="bird-tuft" d="M56 17c-3-5-1-10 4-11-1 4 0 7 2 11M62 18c1-6 5-9 10-8-3 3-4 6-4 10" />
        <path className="bird-beak" d="M30 41L14 45.500c-1 .4-1 1.500 0 1.800L28 51z" />
        <ellipse className="bird-cheek" cx="39" cy="49" rx="4.500" ry="2.800" />
        <g className="bird-eye-open">
          <circle className="bird-eye-white" cx="43" cy="38" r="6" />
          <circle className="bird-pupil" cx="41.500" cy="38.500" r="3.200" />
          <circle className="bird-glint" cx="40.500" cy="37.300" r="1" />
        </g>
        <path className="bird-eye-shut" d="M37.500 37.500c2 4 8 4.500 11 .5" />
      </g>
    </svg>
  );
}
