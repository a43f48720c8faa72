-- The queue of a node. No row holds a UID, a name or a date of a patient: studies and instances are known by keyed hashes.
CREATE TABLE IF NOT EXISTS studies (
  study TEXT PRIMARY KEY,
  state TEXT NOT NULL CHECK (state IN ('receiving', 'working', 'sending', 'done', 'failed')),
  round INTEGER NOT NULL DEFAULT 1,        -- how often it grew after it was scored, and began anew
  is_first INTEGER NOT NULL DEFAULT 0,     -- scored before others
  expected INTEGER,                        -- instances, where the sender says so
  was_released INTEGER NOT NULL DEFAULT 0, -- whether the association with its last instance ended in order
  first_at REAL NOT NULL,
  last_at REAL NOT NULL,
  begun_at REAL,                           -- when scoring began
  ended_at REAL,                           -- when it was done or failed
  tries INTEGER NOT NULL DEFAULT 0,
  reason TEXT NOT NULL DEFAULT '',         -- why it failed, or why there is nothing to send
  is_wiped INTEGER NOT NULL DEFAULT 0      -- whether its files were deleted
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_state ON studies (state, is_first, first_at);
CREATE TABLE IF NOT EXISTS instances (
  study TEXT NOT NULL REFERENCES studies ON DELETE CASCADE,
  instance TEXT NOT NULL,
  digest TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  is_here INTEGER NOT NULL,                -- whether its file is there
  PRIMARY KEY (study, instance)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deliveries (
  study TEXT NOT NULL REFERENCES studies ON DELETE CASCADE,
  round INTEGER NOT NULL,
  destination TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('waiting', 'sent', 'failed')),
  tries INTEGER NOT NULL DEFAULT 0,
  not_before REAL NOT NULL DEFAULT 0,
  sent_at REAL,
  reason TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (study, round, destination)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
  study TEXT NOT NULL REFERENCES studies ON DELETE CASCADE,
  round INTEGER NOT NULL,
  at REAL NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('raised', 'not raised', 'not scored')),
  score REAL,
  familiarity REAL,                        -- percentile among the training's scans
  seconds REAL NOT NULL,                   -- of scoring
  PRIMARY KEY (study, round)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (result TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID; -- since the node was made
CREATE TABLE IF NOT EXISTS switches (name TEXT PRIMARY KEY) WITHOUT ROWID; -- those that are on
