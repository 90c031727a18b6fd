// A list that is on its way: lines where its entries will stand, so that they move nothing when they come.

/** Widths of what stands for a title and for what is below it, in percent. */
const ENTRIES = [
  [54, 36],
  [41, 28],
  [63, 40],
  [47, 31],
  [58, 37],
  [38, 29],
  [66, 34],
  [45, 39],
  [52, 30],
  [60, 35],
] as const;

export function ContentsWaiting() {
  return (
    <ol className="contents-waiting post-waiting" aria-hidden="true">
      {ENTRIES.map(([title, byline], at) => (
        <li key={at}>
          <span className="contents-waiting-title" style={{ inlineSize: `${title}%` }} />
          <span className="contents-byline" style={{ inlineSize: `${byline}%` }} />
        </li>
      ))}
    </ol>
  );
}
