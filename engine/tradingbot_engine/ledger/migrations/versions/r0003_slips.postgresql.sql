ALTER TABLE positions ADD COLUMN exit_slips BIGINT DEFAULT 0 NOT NULL;

ALTER TABLE positions ADD COLUMN exit_failed_at_ms BIGINT DEFAULT 0 NOT NULL;

UPDATE positions SET exit_slips = (
    SELECT count(*) FROM intents i
    WHERE i.position_id = positions.id AND i.purpose = 'EXIT' AND i.state = 'FAILED'
        AND strpos(replace(i.reason, ' ', ''), '"Custom"' || chr(58) || '6001}') > 0
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
