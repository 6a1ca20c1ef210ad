-- What the engine's database users may do.  `migrate` runs this after the migrations, as the owner of the tables; deploy/rights.py
-- makes the users.  Whoever is not named may nothing: a new table needs a line here, and a test says so.
--
--   engine_api      accepts orders, and is the admin
--   engine_workers  order, limit, sniper, stream, beat
--   engine_dbsync   writes events
--   engine_dlq      keeps dead letters, moves retired orders to the archive, and delivers to webhooks

DO $rights$
DECLARE
    line record;
    found record;
BEGIN
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC, engine_api, engine_workers, engine_dbsync, engine_dlq',
                   current_database());
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO engine_api, engine_workers, engine_dbsync, engine_dlq',
                   current_database());
    REVOKE ALL ON SCHEMA public FROM PUBLIC, engine_api, engine_workers, engine_dbsync, engine_dlq;
    GRANT USAGE ON SCHEMA public TO engine_api, engine_workers, engine_dbsync, engine_dlq;
    REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC, engine_api, engine_workers, engine_dbsync, engine_dlq;
    REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM PUBLIC, engine_api, engine_workers, engine_dbsync, engine_dlq;

    FOR line IN
        SELECT * FROM (VALUES
            -- Everybody reads what orders are made of; people and their sessions are the API's alone.
            ('engine_api', 'SELECT', '.'),
            ('engine_workers, engine_dbsync, engine_dlq', 'SELECT', '^(orders|routing|django_celery_beat)_|^django_migrations$'),

            -- An order lost with Redis is restored by whoever meets it, in a new epoch.
            ('engine_api, engine_workers, engine_dbsync, engine_dlq', 'INSERT', '^(orders_orderevent|routing_storeepoch)$'),
            ('engine_api, engine_workers, engine_dbsync, engine_dlq', 'UPDATE', '^orders_(order|orderevent|attempt)$'),
            -- Only events that a later epoch replaced: the table's triggers see to it.
            ('engine_api, engine_workers, engine_dbsync', 'DELETE', '^orders_orderevent$'),

            -- Added to, and never changed.  Acts are sealed when they are recorded, orders by dbsync.
            ('engine_api, engine_workers, engine_dbsync, engine_dlq', 'INSERT', '^orders_(act|seal)$'),

            ('engine_api', 'INSERT', '^(orders_order|django_admin_log)$'),
            ('engine_api', 'INSERT, UPDATE', '^orders_apikey$'),
            ('engine_api', 'UPDATE', '^orders_deadletter$'),
            ('engine_api', 'INSERT, UPDATE, DELETE', '^orders_webhook$'),
            ('engine_dlq', 'UPDATE', '^orders_webhook$'),
            ('engine_api', 'INSERT, UPDATE, DELETE', '^orders_(pause|guard|tradinglimit|incidentnote)$|^routing_(token|pair)$'),
            -- What is used of daily trading limits: counted on acceptance and before the send, given back by whoever ends an order.
            ('engine_api, engine_workers, engine_dbsync, engine_dlq', 'INSERT, UPDATE, DELETE', '^orders_tradinglimit(use|hold)$'),
            -- Reserved on acceptance, given back by whoever ends an order, moved by whoever sees a transaction land.
            ('engine_api, engine_workers, engine_dbsync, engine_dlq', 'INSERT, UPDATE', '^orders_balance$'),
            ('engine_api, engine_workers', 'INSERT, UPDATE', '^orders_position$'),
            ('engine_api', 'INSERT, UPDATE, DELETE', '^auth_|^axes_|^otp_|^django_session$|^django_celery_beat_'),

            -- Whatever role's container is at hand can throw the kill switch; only the API lifts it.
            ('engine_workers, engine_dbsync, engine_dlq', 'INSERT, UPDATE', '^orders_pause$'),
            ('engine_workers', 'INSERT', '^orders_attempt$'),
            ('engine_workers', 'INSERT, UPDATE, DELETE', '^routing_candle$'),
            -- The sandbox: its chain's ledger, the tokens it launches and what is known about their pools.
            ('engine_workers', 'INSERT, UPDATE', '^routing_(ledgerentry|token|pair)$'),
            ('engine_workers', 'INSERT, UPDATE, DELETE', '^routing_tokenmarket$'),
            -- They copy risk limits to Redis under a lock of the table, which takes this right.
            ('engine_workers', 'UPDATE', '^orders_guard$'),
            -- Beat notes what it sent, and adds Celery's own task to the schedule at its start.
            ('engine_workers', 'INSERT, UPDATE', '^django_celery_beat_(periodictasks?|crontabschedule)$'),

            ('engine_dbsync', 'INSERT', '^orders_setaside$'),
            -- After Redis was lost, whoever rebuilds it notes what DBSync may not have heard of.
            ('engine_dbsync, engine_workers', 'INSERT', '^orders_journalrow$'),
            ('engine_dlq', 'DELETE', '^orders_journalrow$'),

            ('engine_dlq', 'INSERT', '^orders_(deadletter|archivedorder)$'),
            -- Rows to be deleted are locked first, which takes this right.
            ('engine_dlq', 'UPDATE', '^orders_archivedorder$'),
            ('engine_dlq', 'DELETE', '^orders_(order|orderevent|attempt|deadletter|archivedorder)$|^routing_ledgerentry$')
        ) AS rights (users, what, tables)
    LOOP
        FOR found IN
            SELECT oid::regclass AS name FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND relname ~ line.tables
        LOOP
            EXECUTE format('GRANT %s ON %s TO %s', line.what, found.name, line.users);
        END LOOP;
    END LOOP;
    -- Webhooks of a closed account are not delivered.
    GRANT SELECT (id, is_active) ON auth_user TO engine_dlq;
END
$rights$;

-- Whoever asks, the triggers of orders/migrations/0017_append_only.py keep history.
DROP TRIGGER IF EXISTS engine_event_stands ON orders_orderevent;
DROP FUNCTION IF EXISTS engine_event_stands;
