-- What the engine's database users may do.  `migrate` runs this after the migrations, as the owner of the tables; deploy/rights.py
-- makes the users.  Whoever is not named may nothing: a new table needs a line here, and a test says so.
--
--   engine_api      accepts orders, and is the admin
--   engine_workers  order, limit, sniper, stream, beat
--   engine_dbsync   writes events
--   engine_dlq      keeps dead letters, and moves retired orders to the archive

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
            -- Only events that a later epoch replaced: see the trigger below.
            ('engine_api, engine_workers, engine_dbsync', 'DELETE', '^orders_orderevent$'),

            ('engine_api', 'INSERT', '^(orders_order|django_admin_log)$'),
            ('engine_api', 'INSERT, UPDATE', '^orders_apikey$'),
            ('engine_api', 'UPDATE', '^orders_deadletter$'),
            ('engine_api', 'INSERT, UPDATE, DELETE', '^orders_(pause|guard)$|^routing_(token|pair)$'),
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
END
$rights$;

-- An event stands.  One of an epoch that is over may be withdrawn or replaced; only retirement removes others.
CREATE OR REPLACE FUNCTION engine_event_stands() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $stands$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.epoch > OLD.epoch AND (NEW.order_id, NEW.seq) = (OLD.order_id, OLD.seq) THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'DELETE' AND OLD.epoch < (SELECT max(id) FROM routing_storeepoch) THEN
        RETURN OLD;
    END IF;
    RAISE insufficient_privilege USING MESSAGE = format('%s may not %s an event that stands', current_user, lower(TG_OP));
END
$stands$;

CREATE OR REPLACE TRIGGER engine_event_stands BEFORE UPDATE OR DELETE ON orders_orderevent
    FOR EACH ROW WHEN (current_user IN ('engine_api', 'engine_workers', 'engine_dbsync'))
    EXECUTE FUNCTION engine_event_stands();
