CREATE TABLE guards (
    intent_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    CONSTRAINT pk_guards PRIMARY KEY (intent_id),
    CONSTRAINT fk_guards_intent_id FOREIGN KEY(intent_id) REFERENCES intents (id)
);

CREATE INDEX ix_guards_signature ON guards (signature);

CREATE TABLE reclaims (
    signature TEXT NOT NULL,
    state TEXT NOT NULL,
    wire BYTEA NOT NULL,
    blockhash_slot BIGINT NOT NULL,
    last_valid_block_height BIGINT NOT NULL,
    guards TEXT NOT NULL,
    signed_at_ms BIGINT NOT NULL,
    landed_slot BIGINT,
    lamport_delta BIGINT,
    fee_lamports BIGINT,
    CONSTRAINT pk_reclaims PRIMARY KEY (signature),
    CONSTRAINT ck_reclaims_state CHECK (state IN ('SENT', 'DONE', 'FAILED', 'EXPIRED'))
);
