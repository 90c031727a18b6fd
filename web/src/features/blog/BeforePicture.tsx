// Says plainly that there is no cache, lest somebody wonder why every load is slow.
import './BeforePicture.css';

export function BeforePicture() {
  return (
    <aside className="before-picture" aria-label="The cache is off">
      <strong>The cache is off: this is the before picture.</strong> Every load goes all the way to the posts service.
      Start <code>blog</code> without <code>CACHE_ENABLED=false</code> to see the after.
    </aside>
  );
}
