CREATE TABLE adjustments (
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    position_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    intent_id TEXT NOT NULL,
    base_delta BIGINT NOT NULL,
    quote_delta BIGINT NOT NULL,
    at_ms BIGINT NOT NULL,
    CONSTRAINT pk_adjustments PRIMARY KEY (id),
    CONSTRAINT ck_adjustments_kind CHECK (kind IN ('OVERSOLD', 'SHORT')),
    CONSTRAINT fk_adjustments_position_id FOREIGN KEY(position_id) REFERENCES positions (id)
);

CREATE INDEX ix_adjustments_position ON adjustments (position_id);

CREATE INDEX ix_positions_oversold ON positions (mint) WHERE sold > bought;
