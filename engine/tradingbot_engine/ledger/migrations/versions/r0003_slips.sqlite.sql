DROP INDEX ux_positions_open;

ALTER TABLE positions RENAME TO positions_0002;

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
    exit_slips INTEGER DEFAULT 0 NOT NULL,
    exit_failed_at_ms INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_positions PRIMARY KEY (id),
    CONSTRAINT ck_positions_state CHECK (state IN ('CLOSED', 'OPEN', 'PENDING')),
    CONSTRAINT ck_positions_exit_open CHECK (exit_open IN (0, 1)),
    CONSTRAINT fk_positions_id FOREIGN KEY(id) REFERENCES intents (id)
)
 STRICT;

INSERT INTO positions (id, shard, strategy, mint, state, bought, sold, cost, proceeds, realized, exposure, opened_at_ms, entry_price, exit_open, exit_failures)
SELECT id, shard, strategy, mint, state, bought, sold, cost, proceeds, realized, exposure, opened_at_ms, entry_price, exit_open, exit_failures FROM positions_0002;

DROP TABLE positions_0002;

CREATE UNIQUE INDEX ux_positions_open ON positions (strategy, mint) WHERE state <> 'CLOSED';

UPDATE positions SET exit_slips = (
    SELECT count(*) FROM intents i
    WHERE i.position_id = positions.id AND i.purpose = 'EXIT' AND i.state = 'FAILED'
        AND instr(replace(i.reason, ' ', ''), '"Custom"' || char(58) || '6001}') > 0
        AND NOT EXISTS (
            SELECT 1 FROM intents s JOIN fills f ON f.intent_id = s.id AND f.attempt = s.attempt
            WHERE s.position_id = i.position_id AND s.purpose = 'EXIT'
                AND (s.created_at_ms > i.created_at_ms
                    OR s.created_at_ms = i.created_at_ms AND s.updated_at_ms >= i.updated_at_ms)
        )
), exit_failed_at_ms = (
    SELECT coalesce(max(i.signal_at_ms + CASE WHEN i.updated_at_ms > i.created_at_ms
        THEN i.updated_at_ms - i.created_at_ms ELSE 0 END), 0) FROM intents i
    WHERE i.position_id = positions.id AND i.purpose = 'EXIT' AND i.state IN ('FAILED', 'ABANDONED')
);
