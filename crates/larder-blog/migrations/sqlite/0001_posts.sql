-- SQLite does not check lengths by itself, and keeps a time zone only as text.
CREATE TABLE posts (
    id INTEGER PRIMARY KEY,
    title TEXT NOT NULL CHECK (length(title) <= 255),
    content TEXT NOT NULL,
    department TEXT NOT NULL CHECK (length(department) <= 100),
    author TEXT NOT NULL CHECK (length(author) <= 127),
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'))
);
