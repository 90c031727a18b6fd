// The request in its parts, each of which can be changed.
import { ActionButton } from '../../../ui/ActionButton';
import type { Request } from '../api/explain';
import './RequestEditor.css';

interface Props {
  readonly request: Request;
  readonly onChange: (request: Request) => void;
  /** Back to what was pasted; `null` while it is that. */
  readonly onReset: (() => void) | null;
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
/** More fields than this no server takes either. */
const MOST_FIELDS = 100;

export function RequestEditor({ request, onChange, onReset }: Props) {
  const { method, url, headers } = request;
  const withHeader = (at: number, field: readonly [string, string] | null) =>
    onChange({ ...request, headers: headers.flatMap((known, place) => (place !== at ? [known] : field === null ? [] : [field])) });
  const methods = METHODS.includes(method) ? METHODS : [method, ...METHODS];
  return (
    <section className="part editor" aria-labelledby="editor-title">
      <header className="part-head">
        <h2 id="editor-title">The request</h2>
        <p>
          {onReset === null ? (
            'Change something, and see what that changes.'
          ) : (
            <button type="button" className="link-button" onClick={onReset}>
              Back to what was pasted
            </button>
          )}
        </p>
      </header>
      <div className="editor-line field field-code">
        <select aria-label="Method" value={method} onChange={(event) => onChange({ ...request, method: event.target.value })}>
          {methods.map((known) => (
            <option key={known}>{known}</option>
          ))}
        </select>
        <input
          aria-label="URL"
          value={url}
          spellCheck={false}
          autoCapitalize="none"
          onChange={(event) => onChange({ ...request, url: event.target.value })}
        />
      </div>
      {headers.map(([name, value], at) => (
        <div key={at} className="editor-field field field-code">
          <input
            aria-label={`Field ${at + 1}, name`}
            value={name}
            placeholder="accept-encoding"
            spellCheck={false}
            autoCapitalize="none"
            onChange={(event) => withHeader(at, [event.target.value, value])}
          />
          <input
            aria-label={`Field ${at + 1}, value`}
            value={value}
            placeholder="br"
            spellCheck={false}
            autoCapitalize="none"
            onChange={(event) => withHeader(at, [name, event.target.value])}
          />
          <button type="button" className="editor-remove" aria-label={`Remove field ${at + 1}`} onClick={() => withHeader(at, null)}>
            <span aria-hidden="true">×</span>
          </button>
        </div>
      ))}
      <ActionButton
        resting={headers.length >= MOST_FIELDS}
        onPress={() => onChange({ ...request, headers: [...headers, ['', '']] })}
      >
        Add a field
      </ActionButton>
    </section>
  );
}
