"""The control's tables: of the same names and columns as the engine's, as far as the checker reads them."""

TOKENS = {
    "SOL": ("So11111111111111111111111111111111111111112", 9),
    "USDC": ("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v", 6),
    "JUP": ("JUPyiwrYJFskUPiHa7hkeR8VUtAeFoSYbKedZNsDvCN", 6),
    "WIF": ("EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm", 6),
    "BONK": ("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263", 5),
}

TABLES = """
CREATE TABLE IF NOT EXISTS routing_token (symbol text PRIMARY KEY, mint text, decimals int);
CREATE TABLE IF NOT EXISTS orders_order (
    id uuid PRIMARY KEY, type text, pair text, amount_in numeric, amount_out numeric, slippage_bps int,
    limit_price numeric, max_price numeric, time_in_force text, expires_at timestamptz, trigger jsonb,
    client_order_id text UNIQUE, status text, seq int, attempt int DEFAULT 0, result jsonb DEFAULT '{}',
    updated_at timestamptz);
CREATE INDEX IF NOT EXISTS orders_waiting ON orders_order (type) WHERE status = 'pending';
CREATE TABLE IF NOT EXISTS orders_orderevent (
    id bigserial PRIMARY KEY, order_id uuid, epoch int DEFAULT 0, seq int, status text, at timestamptz, attempt int,
    facts jsonb);
CREATE INDEX IF NOT EXISTS orders_events ON orders_orderevent (order_id, seq);
CREATE TABLE IF NOT EXISTS orders_attempt (order_id uuid, number int, state text, signature text);
CREATE TABLE IF NOT EXISTS routing_ledgerentry (
    signature text PRIMARY KEY, slot bigint, lands_at timestamptz, landing text, amount_out numeric,
    fee_lamports bigint, memo text, venue text, amount_in numeric, minimum_out numeric, maximum_in numeric);
CREATE TABLE IF NOT EXISTS orders_pause (scope text, name text, reason text, by text);
"""
WAITING = """
SELECT * FROM orders_order WHERE status = 'pending' AND type <> 'market' AND NOT EXISTS (SELECT FROM orders_pause)
"""
"""What the watch over waiting orders looks at: nothing while everything is paused."""
