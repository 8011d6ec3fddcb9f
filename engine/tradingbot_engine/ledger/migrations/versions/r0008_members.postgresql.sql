CREATE TABLE members (
    name TEXT NOT NULL,
    version BIGINT DEFAULT 0 NOT NULL,
    holder TEXT DEFAULT '' NOT NULL,
    incarnation TEXT DEFAULT '' NOT NULL,
    takes_shards BIGINT DEFAULT 0 NOT NULL,
    renewed_at_ms BIGINT DEFAULT 0 NOT NULL,
    CONSTRAINT pk_members PRIMARY KEY (name),
    CONSTRAINT ck_members_takes_shards CHECK (takes_shards IN (0, 1))
)
 WITH (fillfactor = 20);
