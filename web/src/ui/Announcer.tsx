// Says aloud, for those who listen to the page, what those who look at it can see.

export interface Announcement {
  readonly number: number;
  readonly text: string;
}

interface Props {
  readonly announcement: Announcement;
}

export function Announcer({ announcement: { number, text } }: Props) {
  return (
    <p role="status" className="visually-hidden">
      {/* A new element each time: the same words twice in a row are to be heard twice. */}
      <span key={number}>{text}</span>
    </p>
  );
}
