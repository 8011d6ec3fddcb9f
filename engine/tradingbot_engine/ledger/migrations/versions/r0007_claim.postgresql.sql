CREATE FUNCTION claim_batch_v4(a_id text[], a_strategy text[], a_mint text[], a_side text[], a_purpose text[], a_priority bigint[], a_position_id text[], a_amount_in bigint[], a_reserve_quote bigint[], a_reserve_lamports bigint[], a_max_slippage_bps bigint[], a_max_priority_fee_lamports bigint[], a_signal_at_ms bigint[], a_created_at_ms bigint[], a_price double precision[], a_signal_reason text[], a_now_ms bigint[], a_today text[], a_marks_max_age_ms bigint[], a_max_strategy_quote bigint[], a_strategy_max_drawdown_quote bigint[], a_max_open_intents bigint[], a_fee_reserve_lamports bigint[], a_failed_fee_budget_lamports bigint[], a_shard bigint[], a_holder text[], a_epoch bigint[]) RETURNS TABLE (r_ord bigint, r_outcome text, r_reason text, r_tier text, r_marked_at_ms bigint, r_open_intents bigint, r_exposure bigint, r_fall bigint, r_free_quote bigint, r_free_lamports bigint, r_fees_failed bigint, r_held bigint, r_position_state text)
LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_material = off SET enable_memoize = off AS $claim$
DECLARE
    b bots;
    c record;
    there boolean;
    added_intents bigint := 0;
    added_quote bigint := 0;
    added_lamports bigint := 0;
    added_exposure bigint;
    place integer;
    exposed text[] := '{}';
    exposures bigint[] := '{}';
    leaving text[] := '{}';
    granted bigint[] := '{}';
    written bigint;
BEGIN
    -- All shards first and in one order: two batches never wait for each other in a circle.
    PERFORM 1 FROM shards WHERE shard = ANY (a_shard) ORDER BY shard FOR NO KEY UPDATE;
    -- The bot's row once for all: each claim finds in it and in what was added what the claims before it were granted.
    SELECT * INTO b FROM bots FOR NO KEY UPDATE;
    there := FOUND;
    FOR c IN
        SELECT x.*, f.shard IS NOT NULL AS ours, k.id IS NOT NULL AS known,
            o.state AS o_state, p.bought AS p_bought, p.exit_open AS p_exit_open, p.id AS p_id, p.sold AS p_sold, p.state AS p_state, s.exposure AS s_exposure, s.peak AS s_peak, s.realized AS s_realized, (SELECT min(m.at_ms) FROM marks m) AS marked
        FROM unnest(a_id, a_strategy, a_mint, a_side, a_purpose, a_priority, a_position_id, a_amount_in, a_reserve_quote, a_reserve_lamports, a_max_slippage_bps, a_max_priority_fee_lamports, a_signal_at_ms, a_created_at_ms, a_price, a_signal_reason, a_now_ms, a_today, a_marks_max_age_ms, a_max_strategy_quote, a_strategy_max_drawdown_quote, a_max_open_intents, a_fee_reserve_lamports, a_failed_fee_budget_lamports, a_shard, a_holder, a_epoch) WITH ORDINALITY AS x (id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, now_ms, today, marks_max_age_ms, max_strategy_quote, strategy_max_drawdown_quote, max_open_intents, fee_reserve_lamports, failed_fee_budget_lamports, shard, holder, epoch, ord)
            LEFT JOIN shards f ON f.shard = x.shard AND f.holder = x.holder AND f.epoch = x.epoch
            LEFT JOIN intents k ON k.id = x.id
            LEFT JOIN strategies s ON s.strategy = x.strategy
            LEFT JOIN positions p ON p.id = x.position_id
            LEFT JOIN positions o ON o.strategy = x.strategy AND o.mint = x.mint AND o.state <> 'CLOSED'
        ORDER BY x.ord
    LOOP
        r_ord := c.ord;
        r_reason := '';
        IF NOT c.ours OR c.known OR NOT there THEN
            r_outcome := CASE WHEN NOT c.ours THEN 'FENCED' WHEN c.known THEN 'KNOWN' ELSE 'NO_BOT' END;
            RETURN NEXT;
            CONTINUE;
        END IF;
        place := array_position(exposed, c.strategy);
        added_exposure := CASE WHEN place IS NULL THEN 0 ELSE exposures[place] END;
        r_reason := CASE
            WHEN c.purpose = 'ENTRY' AND (b.closing_since_ms > 0) THEN 'ClosingOut'
            WHEN c.purpose = 'ENTRY' AND (b.paused = 1) THEN 'Paused'
            WHEN c.purpose = 'ENTRY' AND (b.latch = 1) THEN 'Latched'
            WHEN c.purpose = 'ENTRY' AND (b.tier IN ('HALT', 'EMERGENCY')) THEN 'TierHalt'
            WHEN c.purpose = 'ENTRY' AND (b.marked_at_ms < c.now_ms - c.marks_max_age_ms OR c.marked < c.now_ms - c.marks_max_age_ms) THEN 'StaleEquity'
            WHEN c.purpose = 'ENTRY' AND (c.o_state = 'OPEN') THEN 'PositionOpen'
            WHEN c.purpose = 'ENTRY' AND (c.o_state = 'PENDING') THEN 'EntryOpen'
            WHEN c.purpose = 'ENTRY' AND ((coalesce(c.s_exposure, 0) + added_exposure) + c.reserve_quote > c.max_strategy_quote) THEN 'StrategyLimit'
            WHEN c.purpose = 'ENTRY' AND (coalesce(c.s_peak - c.s_realized, 0) > 0 AND coalesce(c.s_peak - c.s_realized, 0) >= c.strategy_max_drawdown_quote) THEN 'StrategyDrawdown'
            WHEN c.purpose = 'ENTRY' AND ((b.open_intents + added_intents) >= c.max_open_intents) THEN 'TooManyOpenIntents'
            WHEN c.purpose = 'ENTRY' AND ((CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.wallet_lamports - (b.reserved_lamports + added_lamports) - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.reserved_quote + added_quote) ELSE 0 END) ELSE b.wallet_quote - (b.reserved_quote + added_quote) END) < c.reserve_quote OR (b.wallet_lamports - (b.reserved_lamports + added_lamports) - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.reserved_quote + added_quote) ELSE 0 END) < (c.reserve_lamports + CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN c.reserve_quote ELSE 0 END)) THEN 'InsufficientFunds'
            WHEN c.purpose = 'ENTRY' AND ((b.wallet_lamports - (b.reserved_lamports + added_lamports) - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.reserved_quote + added_quote) ELSE 0 END) - (c.reserve_lamports + CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN c.reserve_quote ELSE 0 END) < c.fee_reserve_lamports) THEN 'FeeReserve'
            WHEN c.purpose = 'ENTRY' AND ((CASE WHEN b.fees_day >= c.today THEN b.fees_failed ELSE 0 END) > 0 AND (CASE WHEN b.fees_day >= c.today THEN b.fees_failed ELSE 0 END) >= c.failed_fee_budget_lamports) THEN 'FailedFeeBudget'
            WHEN c.purpose = 'EXIT' AND (c.p_id IS NULL OR c.p_state <> 'OPEN') THEN 'PositionNotOpen'
            WHEN c.purpose = 'EXIT' AND (c.p_exit_open = 1) THEN 'ExitOpen'
            WHEN c.purpose = 'EXIT' AND (c.amount_in > c.p_bought - c.p_sold) THEN 'ExitTooLarge'
            ELSE '' END;
        IF r_reason <> '' THEN
            r_tier := b.tier;
            r_marked_at_ms := b.marked_at_ms;
            r_open_intents := (b.open_intents + added_intents);
            r_exposure := (coalesce(c.s_exposure, 0) + added_exposure);
            r_fall := coalesce(c.s_peak - c.s_realized, 0);
            r_free_quote := (CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.wallet_lamports - (b.reserved_lamports + added_lamports) - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.reserved_quote + added_quote) ELSE 0 END) ELSE b.wallet_quote - (b.reserved_quote + added_quote) END);
            r_free_lamports := (b.wallet_lamports - (b.reserved_lamports + added_lamports) - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.reserved_quote + added_quote) ELSE 0 END);
            r_fees_failed := (CASE WHEN b.fees_day >= c.today THEN b.fees_failed ELSE 0 END);
            r_held := coalesce(c.p_bought - c.p_sold, 0);
            r_position_state := coalesce(c.p_state, '');
            r_outcome := 'REFUSED';
            RETURN NEXT;
            CONTINUE;
        END IF;
        added_intents := added_intents + 1;
        added_quote := added_quote + c.reserve_quote;
        added_lamports := added_lamports + c.reserve_lamports;
        granted := array_append(granted, c.ord);
        IF c.purpose <> 'ENTRY' THEN
            leaving := array_append(leaving, c.position_id);
        ELSIF place IS NULL THEN
            exposed := array_append(exposed, c.strategy);
            exposures := array_append(exposures, c.reserve_quote);
        ELSE
            exposures[place] := added_exposure + c.reserve_quote;
        END IF;
    END LOOP;
    IF added_intents = 0 THEN
        RETURN;
    END IF;
    IF cardinality(a_id) = 1 THEN
        INSERT INTO intents (id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, shard, epoch, state, updated_at_ms) SELECT x.id, x.strategy, x.mint, x.side, x.purpose, x.priority, x.position_id, x.amount_in, x.reserve_quote, x.reserve_lamports, x.max_slippage_bps, x.max_priority_fee_lamports, x.signal_at_ms, x.created_at_ms, x.price, x.signal_reason, x.shard, x.epoch, 'INTENT', x.now_ms
            FROM unnest(a_id, a_strategy, a_mint, a_side, a_purpose, a_priority, a_position_id, a_amount_in, a_reserve_quote, a_reserve_lamports, a_max_slippage_bps, a_max_priority_fee_lamports, a_signal_at_ms, a_created_at_ms, a_price, a_signal_reason, a_now_ms, a_today, a_marks_max_age_ms, a_max_strategy_quote, a_strategy_max_drawdown_quote, a_max_open_intents, a_fee_reserve_lamports, a_failed_fee_budget_lamports, a_shard, a_holder, a_epoch) WITH ORDINALITY AS x (id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, now_ms, today, marks_max_age_ms, max_strategy_quote, strategy_max_drawdown_quote, max_open_intents, fee_reserve_lamports, failed_fee_budget_lamports, shard, holder, epoch, ord)
            WHERE x.ord = ANY (granted) ORDER BY x.ord ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            -- A unique index objected; the id was not there a moment ago, under the same lock.
            added_intents := 0;
            added_quote := 0;
            added_lamports := 0;
            added_exposure := 0;
            r_tier := b.tier;
            r_marked_at_ms := b.marked_at_ms;
            r_open_intents := (b.open_intents + added_intents);
            r_exposure := (coalesce(c.s_exposure, 0) + added_exposure);
            r_fall := coalesce(c.s_peak - c.s_realized, 0);
            r_free_quote := (CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.wallet_lamports - (b.reserved_lamports + added_lamports) - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.reserved_quote + added_quote) ELSE 0 END) ELSE b.wallet_quote - (b.reserved_quote + added_quote) END);
            r_free_lamports := (b.wallet_lamports - (b.reserved_lamports + added_lamports) - CASE WHEN b.quote_mint = 'So11111111111111111111111111111111111111112' THEN (b.reserved_quote + added_quote) ELSE 0 END);
            r_fees_failed := (CASE WHEN b.fees_day >= c.today THEN b.fees_failed ELSE 0 END);
            r_held := coalesce(c.p_bought - c.p_sold, 0);
            r_position_state := coalesce(c.p_state, '');
            r_outcome := 'TWIN';
            RETURN NEXT;
            RETURN;
        END IF;
    ELSE
        -- If an index objects here the batch is undone, since its later claims were judged as if the earlier were there: each comes alone.
        INSERT INTO intents (id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, shard, epoch, state, updated_at_ms) SELECT x.id, x.strategy, x.mint, x.side, x.purpose, x.priority, x.position_id, x.amount_in, x.reserve_quote, x.reserve_lamports, x.max_slippage_bps, x.max_priority_fee_lamports, x.signal_at_ms, x.created_at_ms, x.price, x.signal_reason, x.shard, x.epoch, 'INTENT', x.now_ms
            FROM unnest(a_id, a_strategy, a_mint, a_side, a_purpose, a_priority, a_position_id, a_amount_in, a_reserve_quote, a_reserve_lamports, a_max_slippage_bps, a_max_priority_fee_lamports, a_signal_at_ms, a_created_at_ms, a_price, a_signal_reason, a_now_ms, a_today, a_marks_max_age_ms, a_max_strategy_quote, a_strategy_max_drawdown_quote, a_max_open_intents, a_fee_reserve_lamports, a_failed_fee_budget_lamports, a_shard, a_holder, a_epoch) WITH ORDINALITY AS x (id, strategy, mint, side, purpose, priority, position_id, amount_in, reserve_quote, reserve_lamports, max_slippage_bps, max_priority_fee_lamports, signal_at_ms, created_at_ms, price, signal_reason, now_ms, today, marks_max_age_ms, max_strategy_quote, strategy_max_drawdown_quote, max_open_intents, fee_reserve_lamports, failed_fee_budget_lamports, shard, holder, epoch, ord)
            WHERE x.ord = ANY (granted) ORDER BY x.ord;
    END IF;
    INSERT INTO positions (id, shard, strategy, mint, state, exposure, opened_at_ms, entry_price) SELECT x.id, x.shard, x.strategy, x.mint, 'PENDING', x.reserve_quote, x.signal_at_ms, x.price
        FROM unnest(a_purpose, a_id, a_shard, a_strategy, a_mint, a_reserve_quote, a_signal_at_ms, a_price) WITH ORDINALITY AS x (purpose, id, shard, strategy, mint, reserve_quote, signal_at_ms, price, ord)
        WHERE x.ord = ANY (granted) AND x.purpose = 'ENTRY' ORDER BY x.ord;
    IF leaving <> '{}' THEN
        UPDATE positions SET exit_open = 1 WHERE id = ANY (leaving);
    END IF;
    INSERT INTO transitions (shard, epoch, event, intent_id, attempt, to_state, at_ms) SELECT x.shard, x.epoch, 'CLAIM', x.id, 0, 'INTENT', x.now_ms
        FROM unnest(a_id, a_shard, a_epoch, a_now_ms) WITH ORDINALITY AS x (id, shard, epoch, now_ms, ord)
        WHERE x.ord = ANY (granted) ORDER BY x.ord;
    UPDATE bots SET open_intents = open_intents + added_intents, reserved_quote = reserved_quote + added_quote,
        reserved_lamports = reserved_lamports + added_lamports;
    INSERT INTO strategies (strategy, exposure) SELECT * FROM unnest(exposed, exposures) ORDER BY 1 ON CONFLICT (strategy) DO UPDATE SET exposure = strategies.exposure + excluded.exposure;
    RETURN QUERY SELECT g, 'CLAIMED', '', NULL::text, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::text FROM unnest(granted) AS g;
END $claim$
