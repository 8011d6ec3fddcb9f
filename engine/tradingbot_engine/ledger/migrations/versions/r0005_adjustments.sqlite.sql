CREATE TABLE adjustments (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    position_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    intent_id TEXT NOT NULL,
    base_delta INTEGER NOT NULL,
    quote_delta INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    CONSTRAINT ck_adjustments_kind CHECK (kind IN ('OVERSOLD', 'SHORT')),
    CONSTRAINT fk_adjustments_position_id FOREIGN KEY(position_id) REFERENCES positions (id)
)
 STRICT;

CREATE INDEX ix_adjustments_position ON adjustments (position_id);

CREATE INDEX ix_positions_oversold ON positions (mint) WHERE sold > bought;
