DROP INDEX ix_intents_position;

CREATE INDEX ix_intents_exits ON intents (position_id) WHERE purpose = 'EXIT';

DROP INDEX ix_transitions_shard;

DROP INDEX ix_transitions_intent;

CREATE INDEX ix_transitions_steps ON transitions (intent_id) WHERE event <> 'CLAIM';
