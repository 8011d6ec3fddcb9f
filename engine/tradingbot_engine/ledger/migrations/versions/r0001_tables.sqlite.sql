CREATE TABLE bars (
    mint TEXT NOT NULL,
    start_ms INTEGER NOT NULL,
    open REAL NOT NULL,
    high REAL NOT NULL,
    low REAL NOT NULL,
    close REAL NOT NULL,
    volume INTEGER NOT NULL,
    quote_reserve INTEGER NOT NULL,
    CONSTRAINT pk_bars PRIMARY KEY (mint, start_ms)
)
 STRICT;

CREATE TABLE bots (
    bot_id TEXT NOT NULL,
    only_row INTEGER DEFAULT 1 NOT NULL,
    name TEXT NOT NULL,
    wallet TEXT NOT NULL,
    genesis_hash TEXT NOT NULL,
    cluster_id TEXT NOT NULL,
    quote_mint TEXT NOT NULL,
    shards INTEGER NOT NULL,
    paper INTEGER DEFAULT 0 NOT NULL,
    generation INTEGER DEFAULT 0 NOT NULL,
    paused INTEGER DEFAULT 0 NOT NULL,
    latch INTEGER DEFAULT 0 NOT NULL,
    live_risk TEXT DEFAULT '' NOT NULL,
    settled_slot INTEGER DEFAULT 0 NOT NULL,
    wallet_lamports INTEGER DEFAULT 0 NOT NULL,
    wallet_quote INTEGER DEFAULT 0 NOT NULL,
    wallet_slot INTEGER DEFAULT 0 NOT NULL,
    open_intents INTEGER DEFAULT 0 NOT NULL,
    reserved_quote INTEGER DEFAULT 0 NOT NULL,
    reserved_lamports INTEGER DEFAULT 0 NOT NULL,
    capital INTEGER NOT NULL,
    equity_start INTEGER NOT NULL,
    equity INTEGER NOT NULL,
    peak INTEGER NOT NULL,
    day_start INTEGER NOT NULL,
    day TEXT NOT NULL,
    tier TEXT NOT NULL,
    tier_since_ms INTEGER NOT NULL,
    tier_reason TEXT NOT NULL,
    realized INTEGER NOT NULL,
    marked_at_ms INTEGER NOT NULL,
    fees_day TEXT NOT NULL,
    fees_failed INTEGER NOT NULL,
    CONSTRAINT pk_bots PRIMARY KEY (bot_id),
    CONSTRAINT ck_bots_only_row CHECK (only_row = 1),
    CONSTRAINT uq_bots_only_row UNIQUE (only_row),
    CONSTRAINT ck_bots_paper CHECK (paper IN (0, 1)),
    CONSTRAINT ck_bots_paused CHECK (paused IN (0, 1)),
    CONSTRAINT ck_bots_latch CHECK (latch IN (0, 1)),
    CONSTRAINT ck_bots_reserves CHECK (open_intents >= 0 AND reserved_quote >= 0 AND reserved_lamports >= 0),
    CONSTRAINT ck_bots_tier CHECK (tier IN ('EMERGENCY', 'HALT', 'NORMAL', 'WARNING'))
)
 STRICT;

CREATE TABLE flows (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    slot INTEGER NOT NULL,
    lamports INTEGER NOT NULL,
    quote INTEGER NOT NULL,
    at_ms INTEGER NOT NULL
)
 STRICT;

CREATE TABLE intents (
    id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    mint TEXT NOT NULL,
    side TEXT NOT NULL,
    purpose TEXT NOT NULL,
    priority INTEGER NOT NULL,
    position_id TEXT NOT NULL,
    amount_in INTEGER NOT NULL,
    reserve_quote INTEGER NOT NULL,
    reserve_lamports INTEGER NOT NULL,
    max_slippage_bps INTEGER NOT NULL,
    max_priority_fee_lamports INTEGER NOT NULL,
    signal_at_ms INTEGER NOT NULL,
    created_at_ms INTEGER NOT NULL,
    price REAL NOT NULL,
    signal_reason TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt INTEGER DEFAULT 0 NOT NULL,
    confirmed_slot INTEGER,
    reason TEXT DEFAULT '' NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    CONSTRAINT pk_intents PRIMARY KEY (id),
    CONSTRAINT ck_intents_id CHECK (length(id) = 32),
    CONSTRAINT ck_intents_side CHECK (side IN ('BUY', 'SELL')),
    CONSTRAINT ck_intents_purpose CHECK (purpose IN ('ENTRY', 'EXIT')),
    CONSTRAINT ck_intents_amounts CHECK (amount_in > 0 AND reserve_quote >= 0 AND reserve_lamports >= 0),
    CONSTRAINT ck_intents_state CHECK (state IN ('ABANDONED', 'CONFIRMED', 'DONE', 'EXPIRED', 'FAILED', 'INTENT', 'SIGNED', 'SUBMITTED'))
)
 STRICT;

CREATE INDEX ix_intents_open ON intents (shard) WHERE state IN ('CONFIRMED', 'EXPIRED', 'INTENT', 'SIGNED', 'SUBMITTED');

CREATE INDEX ix_intents_position ON intents (position_id);

CREATE INDEX ix_intents_state ON intents (state);

CREATE UNIQUE INDEX ux_intents_open_entry ON intents (strategy, mint) WHERE purpose = 'ENTRY' AND state IN ('CONFIRMED', 'EXPIRED', 'INTENT', 'SIGNED', 'SUBMITTED');

CREATE UNIQUE INDEX ux_intents_open_exit ON intents (position_id) WHERE purpose = 'EXIT' AND state IN ('CONFIRMED', 'EXPIRED', 'INTENT', 'SIGNED', 'SUBMITTED');

CREATE TABLE marks (
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    unrealized INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    CONSTRAINT pk_marks PRIMARY KEY (shard)
)
 STRICT;

CREATE TABLE outbox (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    "key" TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    CONSTRAINT uq_outbox_key UNIQUE ("key")
)
 STRICT;

CREATE TABLE shards (
    shard INTEGER NOT NULL,
    holder TEXT DEFAULT '' NOT NULL,
    epoch INTEGER DEFAULT 0 NOT NULL,
    since_ms INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_shards PRIMARY KEY (shard)
)
 STRICT;

CREATE TABLE strategies (
    strategy TEXT NOT NULL,
    exposure INTEGER DEFAULT 0 NOT NULL,
    realized INTEGER DEFAULT 0 NOT NULL,
    peak INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_strategies PRIMARY KEY (strategy),
    CONSTRAINT ck_strategies_peak CHECK (peak >= realized AND peak >= 0)
)
 STRICT;

CREATE TABLE tier_journal (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at_ms INTEGER NOT NULL,
    old TEXT NOT NULL,
    new TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL
)
 STRICT;

CREATE TABLE transitions (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    event TEXT NOT NULL,
    intent_id TEXT,
    attempt INTEGER,
    from_state TEXT,
    to_state TEXT,
    at_ms INTEGER NOT NULL
)
 STRICT;

CREATE INDEX ix_transitions_intent ON transitions (intent_id);

CREATE INDEX ix_transitions_shard ON transitions (shard, seq);

CREATE TABLE attempts (
    intent_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    signature TEXT NOT NULL,
    state TEXT NOT NULL,
    wire BLOB NOT NULL,
    blockhash TEXT NOT NULL,
    blockhash_slot INTEGER NOT NULL,
    last_valid_block_height INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    signed_at_ms INTEGER NOT NULL,
    quoted_out INTEGER NOT NULL,
    landed_slot INTEGER,
    lamport_delta INTEGER,
    fee_lamports INTEGER,
    CONSTRAINT pk_attempts PRIMARY KEY (intent_id, n),
    CONSTRAINT ck_attempts_state CHECK (state IN ('CONFIRMED', 'DONE', 'EXPIRED', 'FAILED', 'SIGNED', 'SUBMITTED')),
    CONSTRAINT ck_attempts_n CHECK (n >= 1),
    CONSTRAINT fk_attempts_intent_id FOREIGN KEY(intent_id) REFERENCES intents (id),
    CONSTRAINT uq_attempts_signature UNIQUE (signature)
)
 STRICT;

CREATE INDEX ix_attempts_landed ON attempts (landed_slot);

CREATE INDEX ix_attempts_state ON attempts (state) WHERE state IN ('CONFIRMED', 'SIGNED', 'SUBMITTED');

CREATE UNIQUE INDEX ux_attempts_live ON attempts (intent_id) WHERE state IN ('CONFIRMED', 'SIGNED', 'SUBMITTED');

CREATE TABLE fills (
    intent_id TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    position_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    slot INTEGER NOT NULL,
    block_time_ms INTEGER NOT NULL,
    side TEXT NOT NULL,
    base_delta INTEGER NOT NULL,
    quote_delta INTEGER NOT NULL,
    lamport_delta INTEGER NOT NULL,
    base_fee_lamports INTEGER NOT NULL,
    priority_fee_lamports INTEGER NOT NULL,
    tip_lamports INTEGER NOT NULL,
    rent_lamports INTEGER NOT NULL,
    finalized INTEGER DEFAULT 0 NOT NULL,
    paper INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_fills PRIMARY KEY (intent_id, attempt),
    CONSTRAINT ck_fills_finalized CHECK (finalized IN (0, 1)),
    CONSTRAINT ck_fills_paper CHECK (paper IN (0, 1)),
    CONSTRAINT fk_fills_intent_id FOREIGN KEY(intent_id) REFERENCES intents (id),
    CONSTRAINT uq_fills_signature UNIQUE (signature)
)
 STRICT;

CREATE INDEX ix_fills_position ON fills (position_id);

CREATE INDEX ix_fills_slot ON fills (slot);

CREATE TABLE positions (
    id TEXT NOT NULL,
    shard INTEGER NOT NULL,
    strategy TEXT NOT NULL,
    mint TEXT NOT NULL,
    state TEXT NOT NULL,
    bought INTEGER DEFAULT 0 NOT NULL,
    sold INTEGER DEFAULT 0 NOT NULL,
    cost INTEGER DEFAULT 0 NOT NULL,
    proceeds INTEGER DEFAULT 0 NOT NULL,
    realized INTEGER DEFAULT 0 NOT NULL,
    exposure INTEGER DEFAULT 0 NOT NULL,
    opened_at_ms INTEGER NOT NULL,
    entry_price REAL NOT NULL,
    exit_open INTEGER DEFAULT 0 NOT NULL,
    exit_failures INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_positions PRIMARY KEY (id),
    CONSTRAINT ck_positions_state CHECK (state IN ('CLOSED', 'OPEN', 'PENDING')),
    CONSTRAINT ck_positions_exit_open CHECK (exit_open IN (0, 1)),
    CONSTRAINT fk_positions_id FOREIGN KEY(id) REFERENCES intents (id)
)
 STRICT;

CREATE UNIQUE INDEX ux_positions_open ON positions (strategy, mint) WHERE state <> 'CLOSED';
