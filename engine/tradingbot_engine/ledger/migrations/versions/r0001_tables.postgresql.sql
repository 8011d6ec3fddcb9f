CREATE TABLE bars (
    mint TEXT NOT NULL,
    start_ms BIGINT NOT NULL,
    open DOUBLE PRECISION NOT NULL,
    high DOUBLE PRECISION NOT NULL,
    low DOUBLE PRECISION NOT NULL,
    close DOUBLE PRECISION NOT NULL,
    volume BIGINT NOT NULL,
    quote_reserve BIGINT NOT NULL,
    CONSTRAINT pk_bars PRIMARY KEY (mint, start_ms)
);

CREATE TABLE bots (
    bot_id TEXT NOT NULL,
    only_row BIGINT DEFAULT 1 NOT NULL,
    name TEXT NOT NULL,
    wallet TEXT NOT NULL,
    genesis_hash TEXT NOT NULL,
    cluster_id TEXT NOT NULL,
    quote_mint TEXT NOT NULL,
    shards BIGINT NOT NULL,
    paper BIGINT DEFAULT 0 NOT NULL,
    generation BIGINT DEFAULT 0 NOT NULL,
    paused BIGINT DEFAULT 0 NOT NULL,
    latch BIGINT DEFAULT 0 NOT NULL,
    live_risk TEXT DEFAULT '' NOT NULL,
    settled_slot BIGINT DEFAULT 0 NOT NULL,
    wallet_lamports BIGINT DEFAULT 0 NOT NULL,
    wallet_quote BIGINT DEFAULT 0 NOT NULL,
    wallet_slot BIGINT DEFAULT 0 NOT NULL,
    open_intents BIGINT DEFAULT 0 NOT NULL,
    reserved_quote BIGINT DEFAULT 0 NOT NULL,
    reserved_lamports BIGINT DEFAULT 0 NOT NULL,
    capital BIGINT NOT NULL,
    equity_start BIGINT NOT NULL,
    equity BIGINT NOT NULL,
    peak BIGINT NOT NULL,
    day_start BIGINT NOT NULL,
    day TEXT NOT NULL,
    tier TEXT NOT NULL,
    tier_since_ms BIGINT NOT NULL,
    tier_reason TEXT NOT NULL,
    realized BIGINT NOT NULL,
    marked_at_ms BIGINT NOT NULL,
    fees_day TEXT NOT NULL,
    fees_failed BIGINT NOT NULL,
    CONSTRAINT pk_bots PRIMARY KEY (bot_id),
    CONSTRAINT ck_bots_only_row CHECK (only_row = 1),
    CONSTRAINT uq_bots_only_row UNIQUE (only_row),
    CONSTRAINT ck_bots_paper CHECK (paper IN (0, 1)),
    CONSTRAINT ck_bots_paused CHECK (paused IN (0, 1)),
    CONSTRAINT ck_bots_latch CHECK (latch IN (0, 1)),
    CONSTRAINT ck_bots_reserves CHECK (open_intents >= 0 AND reserved_quote >= 0 AND reserved_lamports >= 0),
    CONSTRAINT ck_bots_tier CHECK (tier IN ('EMERGENCY', 'HALT', 'NORMAL', 'WARNING'))
)
 WITH (fillfactor = 20);

CREATE TABLE flows (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    slot BIGINT NOT NULL,
    lamports BIGINT NOT NULL,
    quote BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    CONSTRAINT pk_flows PRIMARY KEY (id)
);

CREATE TABLE intents (
    id TEXT NOT NULL,
    shard BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    strategy TEXT NOT NULL,
    mint TEXT NOT NULL,
    side TEXT NOT NULL,
    purpose TEXT NOT NULL,
    priority BIGINT NOT NULL,
    position_id TEXT NOT NULL,
    amount_in BIGINT NOT NULL,
    reserve_quote BIGINT NOT NULL,
    reserve_lamports BIGINT NOT NULL,
    max_slippage_bps BIGINT NOT NULL,
    max_priority_fee_lamports BIGINT NOT NULL,
    signal_at_ms BIGINT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    price DOUBLE PRECISION NOT NULL,
    signal_reason TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt BIGINT DEFAULT 0 NOT NULL,
    confirmed_slot BIGINT,
    reason TEXT DEFAULT '' NOT NULL,
    updated_at_ms BIGINT NOT NULL,
    CONSTRAINT pk_intents PRIMARY KEY (id),
    CONSTRAINT ck_intents_id CHECK (length(id) = 32),
    CONSTRAINT ck_intents_side CHECK (side IN ('BUY', 'SELL')),
    CONSTRAINT ck_intents_purpose CHECK (purpose IN ('ENTRY', 'EXIT')),
    CONSTRAINT ck_intents_amounts CHECK (amount_in > 0 AND reserve_quote >= 0 AND reserve_lamports >= 0),
    CONSTRAINT ck_intents_state CHECK (state IN ('ABANDONED', 'CONFIRMED', 'DONE', 'EXPIRED', 'FAILED', 'INTENT', 'SIGNED', 'SUBMITTED'))
);

CREATE INDEX ix_intents_open ON intents (shard) WHERE state IN ('CONFIRMED', 'EXPIRED', 'INTENT', 'SIGNED', 'SUBMITTED');

CREATE INDEX ix_intents_position ON intents (position_id);

CREATE INDEX ix_intents_state ON intents (state);

CREATE UNIQUE INDEX ux_intents_open_entry ON intents (strategy, mint) WHERE purpose = 'ENTRY' AND state IN ('CONFIRMED', 'EXPIRED', 'INTENT', 'SIGNED', 'SUBMITTED');

CREATE UNIQUE INDEX ux_intents_open_exit ON intents (position_id) WHERE purpose = 'EXIT' AND state IN ('CONFIRMED', 'EXPIRED', 'INTENT', 'SIGNED', 'SUBMITTED');

CREATE TABLE marks (
    shard BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    unrealized BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    CONSTRAINT pk_marks PRIMARY KEY (shard)
);

CREATE TABLE outbox (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    CONSTRAINT pk_outbox PRIMARY KEY (id),
    CONSTRAINT uq_outbox_key UNIQUE (key)
);

CREATE TABLE shards (
    shard BIGINT NOT NULL,
    holder TEXT DEFAULT '' NOT NULL,
    epoch BIGINT DEFAULT 0 NOT NULL,
    since_ms BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_shards PRIMARY KEY (shard)
)
 WITH (fillfactor = 20);

CREATE TABLE strategies (
    strategy TEXT NOT NULL,
    exposure BIGINT DEFAULT 0 NOT NULL,
    realized BIGINT DEFAULT 0 NOT NULL,
    peak BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_strategies PRIMARY KEY (strategy),
    CONSTRAINT ck_strategies_peak CHECK (peak >= realized AND peak >= 0)
)
 WITH (fillfactor = 20);

CREATE TABLE tier_journal (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    at_ms BIGINT NOT NULL,
    "old" TEXT NOT NULL,
    "new" TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    CONSTRAINT pk_tier_journal PRIMARY KEY (id)
);

CREATE TABLE transitions (
    seq BIGINT GENERATED ALWAYS AS IDENTITY,
    shard BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    event TEXT NOT NULL,
    intent_id TEXT,
    attempt BIGINT,
    from_state TEXT,
    to_state TEXT,
    at_ms BIGINT NOT NULL,
    CONSTRAINT pk_transitions PRIMARY KEY (seq)
);

CREATE INDEX ix_transitions_intent ON transitions (intent_id);

CREATE INDEX ix_transitions_shard ON transitions (shard, seq);

CREATE TABLE attempts (
    intent_id TEXT NOT NULL,
    n BIGINT NOT NULL,
    signature TEXT NOT NULL,
    state TEXT NOT NULL,
    wire BYTEA NOT NULL,
    blockhash TEXT NOT NULL,
    blockhash_slot BIGINT NOT NULL,
    last_valid_block_height BIGINT NOT NULL,
    epoch BIGINT NOT NULL,
    signed_at_ms BIGINT NOT NULL,
    quoted_out BIGINT NOT NULL,
    landed_slot BIGINT,
    lamport_delta BIGINT,
    fee_lamports BIGINT,
    CONSTRAINT pk_attempts PRIMARY KEY (intent_id, n),
    CONSTRAINT ck_attempts_state CHECK (state IN ('CONFIRMED', 'DONE', 'EXPIRED', 'FAILED', 'SIGNED', 'SUBMITTED')),
    CONSTRAINT ck_attempts_n CHECK (n >= 1),
    CONSTRAINT fk_attempts_intent_id FOREIGN KEY(intent_id) REFERENCES intents (id),
    CONSTRAINT uq_attempts_signature UNIQUE (signature)
);

CREATE INDEX ix_attempts_landed ON attempts (landed_slot);

CREATE INDEX ix_attempts_state ON attempts (state) WHERE state IN ('CONFIRMED', 'SIGNED', 'SUBMITTED');

CREATE UNIQUE INDEX ux_attempts_live ON attempts (intent_id) WHERE state IN ('CONFIRMED', 'SIGNED', 'SUBMITTED');

CREATE TABLE fills (
    intent_id TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    position_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    slot BIGINT NOT NULL,
    block_time_ms BIGINT NOT NULL,
    side TEXT NOT NULL,
    base_delta BIGINT NOT NULL,
    quote_delta BIGINT NOT NULL,
    lamport_delta BIGINT NOT NULL,
    base_fee_lamports BIGINT NOT NULL,
    priority_fee_lamports BIGINT NOT NULL,
    tip_lamports BIGINT NOT NULL,
    rent_lamports BIGINT NOT NULL,
    finalized BIGINT DEFAULT 0 NOT NULL,
    paper BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_fills PRIMARY KEY (intent_id, attempt),
    CONSTRAINT ck_fills_finalized CHECK (finalized IN (0, 1)),
    CONSTRAINT ck_fills_paper CHECK (paper IN (0, 1)),
    CONSTRAINT fk_fills_intent_id FOREIGN KEY(intent_id) REFERENCES intents (id),
    CONSTRAINT uq_fills_signature UNIQUE (signature)
);

CREATE INDEX ix_fills_position ON fills (position_id);

CREATE INDEX ix_fills_slot ON fills (slot);

CREATE TABLE positions (
    id TEXT NOT NULL,
    shard BIGINT NOT NULL,
    strategy TEXT NOT NULL,
    mint TEXT NOT NULL,
    state TEXT NOT NULL,
    bought BIGINT DEFAULT 0 NOT NULL,
    sold BIGINT DEFAULT 0 NOT NULL,
    cost BIGINT DEFAULT 0 NOT NULL,
    proceeds BIGINT DEFAULT 0 NOT NULL,
    realized BIGINT DEFAULT 0 NOT NULL,
    exposure BIGINT DEFAULT 0 NOT NULL,
    opened_at_ms BIGINT NOT NULL,
    entry_price DOUBLE PRECISION NOT NULL,
    exit_open BIGINT DEFAULT 0 NOT NULL,
    exit_failures BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_positions PRIMARY KEY (id),
    CONSTRAINT ck_positions_state CHECK (state IN ('CLOSED', 'OPEN', 'PENDING')),
    CONSTRAINT ck_positions_exit_open CHECK (exit_open IN (0, 1)),
    CONSTRAINT fk_positions_id FOREIGN KEY(id) REFERENCES intents (id)
);

CREATE UNIQUE INDEX ux_positions_open ON positions (strategy, mint) WHERE state <> 'CLOSED';
