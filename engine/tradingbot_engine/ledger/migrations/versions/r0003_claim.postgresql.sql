CREATE FUNCTION claim_batch_v2(items jsonb) RETURNS TABLE (r_ord bigint, r_outcome text, r_reason text, r_tier text, r_marked_at_ms bigint, r_open_intents bigint, r_exposure bigint, r_fall bigint, r_free_quote bigint, r_free_lamports bigint, r_fees_failed bigint, r_held bigint, r_position_state text)
LANGUAGE plpgsql AS $claim$
DECLARE
    c record;
    b bots;
    there boolean;
    ours boolean;
    known boolean;
    exposed bigint;
    added jsonb := '{}';
    granted bigint[] := '{}';
BEGIN
    -- All shards first and in one order: two batches never wait for each other in a circle.
    PERFORM 1 FROM shards WHERE shard IN (SELECT x.shard FROM jsonb_to_recordset(items) AS x (shard bigint))
        ORDER BY shard FOR NO KEY UPDATE;
    -- The bot's row once for all: each claim finds in b and added what the claims before it were granted.
    SELECT * INTO b FROM bots FOR NO KEY UPDATE;
    there := FOUND;
    FOR c IN SELECT * FROM jsonb_to_recordset(items) AS x (ord bigint, id text, strategy text, mint text, side text, purpose text, priority bigint, position_id text, amount_in bigint, reserve_quote bigint, reserve_lamports bigint, max_slippage_bps bigint, max_priority_fee_lamports bigint, signal_at_ms bigint, created_at_ms bigint, price double precision, signal_reason text, now_ms bigint, today text, marks_max_age_ms bigint, max_strategy_quote bigint, strategy_max_drawdown_quote bigint, max_open_intents bigint, fee_reserve_lamports bigint, failed_fee_budget_lamports bigint, shard bigint, holder text, epoch bigint) ORDER BY x.ord LOOP
        r_ord := c.ord;
        r_reason := '';
        SELECT EXISTS (SELECT 1 FROM shards WHERE shard = c.shard AND holder = c.holder AND epoch = c.epoch),
            EXISTS (SELECT 1 FROM intents WHERE id = c.id) INTO ours, known;
        IF NOT ours THEN
            r_outcome := 'FENCED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF known THEN
            r_outcome := 'KNOWN';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF NOT there THEN
            r_outcome := 'NO_BOT';
            RETURN NEXT;
            CONTINUE;
        END IF;
        exposed := coalesce((added ->> c.strategy)::bigint, 0);
        SELECT CASE
            WHEN c.purpose = 'ENTRY' AND (b.paused = 1) THEN 'Paused'
            WHEN c.purpose = 'ENTRY' AND (b.latch = 1) THEN 'Latched'
            WHEN c.purpose = 'ENTRY' AND (b.tier IN ('HALT', 'EMERGENCY')) THEN 'TierHalt'
            WHEN c.purpose = 'ENTRY' AND (b.marked_at_ms < c.now_ms - c.marks_max_age_ms OR EXISTS (SELECT 1 FROM marks m WHERE m.at_ms < c.now_ms - c.marks_max_age_ms)) THEN 'StaleEquity'
            WHEN c.purpose = 'ENTRY' AND (EXISTS (SELECT 1 FROM positions q WHERE q.strategy = c.strategy AND q.mint = c.mint AND q.state <> 'CLOSED' AND q.state = 'OPEN')) THEN 'PositionOpen'
            WHEN c.purpose = 'ENTRY' AND (EXISTS (SELECT 1 FROM positions q WHERE q.strategy = c.strategy AND q.mint = c.mint AND q.state <> 'CLOSED' AND q.state = 'PENDING')) THEN 'EntryOpen'
            WHEN c.purpose = 'ENTRY' AND ((coalesce(s.exposure, 0) + exposed) + c.reserve_quote > c.max_strategy_quote) THEN 'StrategyLimit'
            WHEN c.purpose = 'ENTRY' AND (coalesce(s.peak - s.realized, 0) > 0 AND coalesce(s.peak - s.realized, 0) >= c.strategy_max_drawdown_quote) THEN 'StrategyDrawdown'
            WHEN c.purpose = 'ENTRY' AND (b.open_intents >= c.max_open_intents) THEN 'TooManyOpenIntents'
            WHEN c.purpose = 'ENTRY' AND ((CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.wallet_lamports - b.reserved_lamports - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN b.reserved_quote ELSE 0 END) ELSE b.wallet_quote - b.reserved_quote END) < c.reserve_quote OR (b.wallet_lamports - b.reserved_lamports - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN b.reserved_quote ELSE 0 END) < (c.reserve_lamports + CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN c.reserve_quote ELSE 0 END)) THEN 'InsufficientFunds'
            WHEN c.purpose = 'ENTRY' AND ((b.wallet_lamports - b.reserved_lamports - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN b.reserved_quote ELSE 0 END) - (c.reserve_lamports + CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN c.reserve_quote ELSE 0 END) < c.fee_reserve_lamports) THEN 'FeeReserve'
            WHEN c.purpose = 'ENTRY' AND ((CASE WHEN b.fees_day >= c.today THEN b.fees_failed ELSE 0 END) > 0 AND (CASE WHEN b.fees_day >= c.today THEN b.fees_failed ELSE 0 END) >= c.failed_fee_budget_lamports) THEN 'FailedFeeBudget'
            WHEN c.purpose = 'EXIT' AND (p.id IS NULL OR p.state <> 'OPEN') THEN 'PositionNotOpen'
            WHEN c.purpose = 'EXIT' AND (p.exit_open = 1) THEN 'ExitOpen'
            WHEN c.purpose = 'EXIT' AND (c.amount_in > p.bought - p.sold) THEN 'ExitTooLarge'
            ELSE '' END,
            b.tier, b.marked_at_ms, b.open_intents, (coalesce(s.exposure, 0) + exposed), coalesce(s.peak - s.realized, 0), (CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.wallet_lamports - b.reserved_lamports - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN b.reserved_quote ELSE 0 END) ELSE b.wallet_quote - b.reserved_quote END), (b.wallet_lamports - b.reserved_lamports - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN b.reserved_quote ELSE 0 END), (CASE WHEN b.fees_day >= c.today THEN b.fees_failed ELSE 0 END), coalesce(p.bought - p.sold, 0), coalesce(p.state, '')
        FROM (SELECT 1) AS one LEFT JOIN strategies s ON s.strategy = c.strategy LEFT JOIN positions p ON p.id = c.position_id
        INTO r_reason, r_tier, r_marked_at_ms, r_open_intents, r_exposure, r_fall, r_free_quote, r_free_lamports, r_fees_failed, r_held, r_position_state;
        IF r_reason <> '' THEN
            r_outcome := 'REFUSED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        IF c.purpose = 'ENTRY' THEN
            WITH made AS (INSERT INTO intents (id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, shard, epoch, state, updated_at_ms) VALUES (c.id, c.strategy, c.mint, c.side, c.purpose, c.priority, c.position_id, c.amount_in, c.reserve_quote, c.reserve_lamports, c.max_slippage_bps, c.max_priority_fee_lamports, c.signal_at_ms, c.created_at_ms, c.price, c.signal_reason, c.shard, c.epoch, 'INTENT', c.now_ms) ON CONFLICT DO NOTHING RETURNING 1)
            INSERT INTO positions (id, shard, strategy, mint, state, exposure, opened_at_ms, entry_price) SELECT c.id, c.shard, c.strategy, c.mint, 'PENDING', c.reserve_quote, c.signal_at_ms, c.price FROM made;
        ELSE
            WITH made AS (INSERT INTO intents (id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, shard, epoch, state, updated_at_ms) VALUES (c.id, c.strategy, c.mint, c.side, c.purpose, c.priority, c.position_id, c.amount_in, c.reserve_quote, c.reserve_lamports, c.max_slippage_bps, c.max_priority_fee_lamports, c.signal_at_ms, c.created_at_ms, c.price, c.signal_reason, c.shard, c.epoch, 'INTENT', c.now_ms) ON CONFLICT DO NOTHING RETURNING position_id)
            UPDATE positions SET exit_open = 1 FROM made WHERE positions.id = made.position_id;
        END IF;
        IF NOT FOUND THEN
            r_outcome := 'TWIN';
            RETURN NEXT;
            CONTINUE;
        END IF;
        b.open_intents := b.open_intents + 1;
        b.reserved_quote := b.reserved_quote + c.reserve_quote;
        b.reserved_lamports := b.reserved_lamports + c.reserve_lamports;
        IF c.purpose = 'ENTRY' THEN
            added := added || jsonb_build_object(c.strategy, exposed + c.reserve_quote);
        END IF;
        granted := granted || c.ord;
        r_outcome := 'CLAIMED';
        RETURN NEXT;
    END LOOP;
    IF granted <> '{}' THEN
        INSERT INTO transitions (shard, epoch, event, intent_id, attempt, from_state, to_state, at_ms) SELECT x.shard, x.epoch, 'CLAIM', x.id, 0, NULL, 'INTENT', x.now_ms
            FROM jsonb_to_recordset(items) AS x (ord bigint, id text, now_ms bigint, shard bigint, epoch bigint)
            WHERE x.ord = ANY (granted) ORDER BY x.ord;
        UPDATE bots SET open_intents = b.open_intents, reserved_quote = b.reserved_quote,
            reserved_lamports = b.reserved_lamports;
        INSERT INTO strategies (strategy, exposure) SELECT key, value::bigint FROM jsonb_each_text(added) ORDER BY key ON CONFLICT (strategy) DO UPDATE SET exposure = strategies.exposure + excluded.exposure;
    END IF;
END $claim$
