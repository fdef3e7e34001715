-- Version 1. Times: *_wall are UTC in ISO 8601; started and ended are seconds since boot on the clock named by
-- `boot`, and compare only within one boot.
CREATE TABLE runs (
    id           TEXT PRIMARY KEY,
    name         TEXT,
    provider     TEXT NOT NULL,
    command      TEXT NOT NULL,              -- JSON: argv
    settings     TEXT NOT NULL DEFAULT '{}', -- JSON: what was asked for
    seed         INTEGER,
    version      TEXT NOT NULL,              -- of this tool
    status       TEXT NOT NULL DEFAULT 'running' CHECK (status IN ('running', 'ok', 'failed', 'interrupted')),
    started_wall TEXT NOT NULL,
    ended_wall   TEXT
) STRICT;

CREATE TABLE hosts (
    id              INTEGER PRIMARY KEY,
    run_id          TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    distro          TEXT NOT NULL,
    provider_id     TEXT,
    address         TEXT,
    status          TEXT NOT NULL DEFAULT 'planned'
                    CHECK (status IN ('planned', 'running', 'ok', 'failed', 'interrupted')),
    failure_class   TEXT,
    failure_message TEXT,
    failed_phase    TEXT,
    log_tail        TEXT,
    cost            REAL,                    -- US dollars to the first checkpoint, where a price was known
    UNIQUE (run_id, name)
) STRICT;

CREATE TABLE phases (
    id           INTEGER PRIMARY KEY,
    host_id      INTEGER NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    source       TEXT NOT NULL CHECK (source IN ('host', 'launcher')),
    parent       INTEGER REFERENCES phases (id) ON DELETE CASCADE, -- the phase it happened inside of, where there is one
    path         TEXT NOT NULL,              -- install/packages/lock: a parent contains its children
    category     TEXT NOT NULL CHECK (category IN ('wait', 'network', 'disk', 'compute', 'mixed')),
    status       TEXT NOT NULL CHECK (status IN ('open', 'ok', 'failed', 'skipped', 'unchanged')),
    boot         TEXT NOT NULL,
    started      REAL NOT NULL,
    ended        REAL,                       -- unknown when the host died or rebooted inside the phase
    started_wall TEXT NOT NULL,
    detail       TEXT NOT NULL DEFAULT '{}'
) STRICT;
CREATE INDEX phases_host ON phases (host_id);

CREATE TABLE facts (
    id      INTEGER PRIMARY KEY,
    host_id INTEGER NOT NULL REFERENCES hosts (id) ON DELETE CASCADE,
    name    TEXT NOT NULL,
    value   TEXT NOT NULL,                   -- JSON
    UNIQUE (host_id, name)
) STRICT;

-- Intent is written before a call to the cloud, its outcome after: a crash leaves a trace of what may exist.
CREATE TABLE calls (
    id           INTEGER PRIMARY KEY,
    run_id       TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    action       TEXT NOT NULL,
    token        TEXT,
    parameters   TEXT NOT NULL,              -- JSON, secrets left out
    started_wall TEXT NOT NULL,
    ended_wall   TEXT,
    result       TEXT,                       -- JSON
    error        TEXT
) STRICT;
