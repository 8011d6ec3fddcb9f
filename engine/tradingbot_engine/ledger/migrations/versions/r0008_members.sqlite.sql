CREATE TABLE members (
    name TEXT NOT NULL,
    version INTEGER DEFAULT 0 NOT NULL,
    holder TEXT DEFAULT '' NOT NULL,
    incarnation TEXT DEFAULT '' NOT NULL,
    takes_shards INTEGER DEFAULT 0 NOT NULL,
    renewed_at_ms INTEGER DEFAULT 0 NOT NULL,
    CONSTRAINT pk_members PRIMARY KEY (name),
    CONSTRAINT ck_members_takes_shards CHECK (takes_shards IN (0, 1))
)
 STRICT;
