// On a narrow page everything stands below everything else: short ways to what is far down.
import './JumpLinks.css';

const PLACES = [
  ['#post', 'Post'],
  ['#rules', 'Cache'],
  ['#crowd', 'Crowd'],
  ['#inventory', 'Larder'],
] as const;

export function JumpLinks() {
  return (
    <nav className="jump-links" aria-label="On this page">
      {PLACES.map(([href, name]) => (
        <a key={href} href={href}>
          {name}
        </a>
      ))}
    </nav>
  );
}
