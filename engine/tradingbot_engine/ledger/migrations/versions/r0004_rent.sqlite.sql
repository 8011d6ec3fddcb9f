CREATE TABLE guards (
    intent_id TEXT NOT NULL,
    signature TEXT NOT NULL,
    CONSTRAINT pk_guards PRIMARY KEY (intent_id),
    CONSTRAINT fk_guards_intent_id FOREIGN KEY(intent_id) REFERENCES intents (id)
)
 STRICT;

CREATE INDEX ix_guards_signature ON guards (signature);

CREATE TABLE reclaims (
    signature TEXT NOT NULL,
    state TEXT NOT NULL,
    wire BLOB NOT NULL,
    blockhash_slot INTEGER NOT NULL,
    last_valid_block_height INTEGER NOT NULL,
    guards TEXT NOT NULL,
    signed_at_ms INTEGER NOT NULL,
    landed_slot INTEGER,
    lamport_delta INTEGER,
    fee_lamports INTEGER,
    CONSTRAINT pk_reclaims PRIMARY KEY (signature),
    CONSTRAINT ck_reclaims_state CHECK (state IN ('SENT', 'DONE', 'FAILED', 'EXPIRED'))
)
 STRICT;
