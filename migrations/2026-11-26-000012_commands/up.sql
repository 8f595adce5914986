-- The main app's commands: what each one has Stripe make is noted before Stripe is asked, so
-- that it is made once, whoever is killed and whatever is sent twice. Reads from Stripe's API are
-- counted, because Stripe allows a platform so many a month. An account is found by its host,
-- and thin events, which say only that it changed, are kept in mind until it is read.
--
-- Two new tables. stripe.account has a row for each host: three columns are added and one is
-- filled from the snapshots that are there. stripe.invoice gets an index, by which a host's
-- invoices are listed: writers wait while it is made, about a second for a million invoices.

CREATE TABLE stripe.command (
    key text PRIMARY KEY,
    attempt integer NOT NULL DEFAULT 1,
    state text NOT NULL DEFAULT 'in_progress' CHECK (state IN ('in_progress', 'done', 'failed')),
    idempotency_key text NOT NULL,
    payload_hash bytea NOT NULL,
    api text NOT NULL CHECK (api IN ('v1', 'v2')),
    account text,
    request jsonb,
    object_id text,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    attempted_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    CHECK ((request IS NOT NULL) = (state = 'in_progress')),
    CHECK ((object_id IS NOT NULL) = (state = 'done'))
);

CREATE INDEX command_in_progress ON stripe.command (attempted_at) WHERE state = 'in_progress';

COMMENT ON TABLE stripe.command IS 'What commands of the main app have Stripe make: one row for each thing that is to exist once.';
COMMENT ON COLUMN stripe.command.key IS 'What is made and for whom, such as host.onboard:42, the account of host 42, or booking.checkout:7, the open Checkout Session of booking 7.';
COMMENT ON COLUMN stripe.command.attempt IS 'The number of the attempt. A new one begins only when it is known that the one before made nothing.';
COMMENT ON COLUMN stripe.command.state IS 'in_progress: Stripe is or was being asked, and the answer is not noted yet. done: it exists. failed: Stripe refused it, and nothing exists.';
COMMENT ON COLUMN stripe.command.idempotency_key IS 'The idempotency key of the attempt: asking once more under it has no second effect.';
COMMENT ON COLUMN stripe.command.payload_hash IS 'SHA-256 of what the command asked for. Another payload under the same key is an error.';
COMMENT ON COLUMN stripe.command.api IS 'The API of Stripe that is asked: v1 or v2.';
COMMENT ON COLUMN stripe.command.account IS 'The connected account on whose behalf Stripe is asked; null for the platform.';
COMMENT ON COLUMN stripe.command.request IS 'The request of an attempt in progress, so that it can be sent once more as it was. Removed when the attempt ends.';
COMMENT ON COLUMN stripe.command.object_id IS 'What Stripe made.';
COMMENT ON COLUMN stripe.command.error IS 'Why the last attempt failed, as a code.';
COMMENT ON COLUMN stripe.command.created_at IS 'When the first attempt began.';
COMMENT ON COLUMN stripe.command.attempted_at IS 'When this attempt began.';
COMMENT ON COLUMN stripe.command.finished_at IS 'When it ended.';

CREATE TABLE stripe.api_read (
    day date PRIMARY KEY,
    reads bigint NOT NULL
);

COMMENT ON TABLE stripe.api_read IS 'How many reads of Stripe''s API were sent on each day (UTC). Stripe allows a platform 500 for each of its transactions in 30 days, and at least 10,000 a month.';
COMMENT ON COLUMN stripe.api_read.day IS 'The day.';
COMMENT ON COLUMN stripe.api_read.reads IS 'The reads of that day.';

ALTER TABLE stripe.account
    ADD COLUMN host_id text,
    ADD COLUMN changed_at timestamptz,
    ADD COLUMN changed_read boolean NOT NULL DEFAULT false;

UPDATE stripe.account
SET host_id = coalesce(
    latest_snapshots #>> '{api_snapshot,host_id}',
    (SELECT max(c.value #>> '{after,host_id}') FROM jsonb_each(latest_snapshots -> 'candidates') AS c)
)
WHERE latest_snapshots IS NOT NULL;

CREATE INDEX invoice_account_idx ON stripe.invoice (account, created DESC, id DESC);

CREATE INDEX account_host_id ON stripe.account (host_id) WHERE host_id IS NOT NULL;

COMMENT ON COLUMN stripe.account.host_id IS 'The host''s id in the main app, from the metadata of the latest snapshot.';
COMMENT ON COLUMN stripe.account.changed_at IS 'The newest thin event of the account: it says that the account changed, and not how.';
COMMENT ON COLUMN stripe.account.changed_read IS 'Whether the account was read from Stripe''s API since.';
