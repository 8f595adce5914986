-- What was given back of an invoice: charges that were refunded and credit notes, each as small
-- as it can be, and their sums in stripe.invoice. Why a draft could not be finalised.
--
-- Two new tables. stripe.invoice gets columns without rewriting it. stripe.checkout_session gets
-- an index, for which it is read once and cannot be written meanwhile.

CREATE TABLE stripe.charge (
    id text NOT NULL,
    account text NOT NULL,
    payment_intent_id text,
    invoice_id text,
    amount bigint,
    amount_refunded bigint NOT NULL,
    event_created timestamptz NOT NULL,
    event_id text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, account)
);

CREATE INDEX charge_invoice_id ON stripe.charge (account, invoice_id, id)
    WHERE invoice_id IS NOT NULL;
CREATE INDEX charge_payment_intent_id ON stripe.charge (account, payment_intent_id, id)
    WHERE invoice_id IS NULL;

COMMENT ON TABLE stripe.charge IS 'Every charge of which something was refunded, also of a host''s own business that no booking is of. A charge is of the invoice that it names, else of the one that the Checkout Session of its payment intent names.';
COMMENT ON COLUMN stripe.charge.id IS 'The charge''s id at Stripe.';
COMMENT ON COLUMN stripe.charge.account IS 'The connected account of its events; blank for the platform.';
COMMENT ON COLUMN stripe.charge.payment_intent_id IS 'The payment intent.';
COMMENT ON COLUMN stripe.charge.invoice_id IS 'The invoice, which API versions before 2025-03-31 name.';
COMMENT ON COLUMN stripe.charge.amount IS 'What was charged, in the currency''s minor units.';
COMMENT ON COLUMN stripe.charge.amount_refunded IS 'What of it was refunded, in the currency''s minor units, by its newest event; of events of one second the greater.';
COMMENT ON COLUMN stripe.charge.event_created IS 'When that event happened.';
COMMENT ON COLUMN stripe.charge.event_id IS 'That event.';
COMMENT ON COLUMN stripe.charge.updated_at IS 'When this row was last written.';

CREATE TABLE stripe.credit_note (
    id text NOT NULL,
    account text NOT NULL,
    invoice_id text,
    amount bigint NOT NULL,
    is_void boolean NOT NULL,
    event_created timestamptz NOT NULL,
    event_id text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, account)
);

CREATE INDEX credit_note_invoice_id ON stripe.credit_note (account, invoice_id, id)
    WHERE NOT is_void;

COMMENT ON TABLE stripe.credit_note IS 'Every credit note ever seen.';
COMMENT ON COLUMN stripe.credit_note.id IS 'The note''s id at Stripe.';
COMMENT ON COLUMN stripe.credit_note.account IS 'The connected account of its events; blank for the platform.';
COMMENT ON COLUMN stripe.credit_note.invoice_id IS 'The invoice that it credits.';
COMMENT ON COLUMN stripe.credit_note.amount IS 'Its total, in the currency''s minor units, by its newest event.';
COMMENT ON COLUMN stripe.credit_note.is_void IS 'Whether it is void: it credits nothing then, and that is never taken back.';
COMMENT ON COLUMN stripe.credit_note.event_created IS 'When the newest event happened.';
COMMENT ON COLUMN stripe.credit_note.event_id IS 'The newest event.';
COMMENT ON COLUMN stripe.credit_note.updated_at IS 'When this row was last written.';

CREATE INDEX checkout_session_payment_intent_id ON stripe.checkout_session (payment_intent_id)
    WHERE payment_intent_id IS NOT NULL;

ALTER TABLE stripe.invoice
    ADD COLUMN amount_refunded bigint NOT NULL DEFAULT 0,
    ADD COLUMN amount_credited bigint NOT NULL DEFAULT 0,
    ADD COLUMN finalization_error_type text,
    ADD COLUMN finalization_error_code text,
    ADD COLUMN automatic_tax_status text;

COMMENT ON COLUMN stripe.invoice.amount_refunded IS 'What was refunded of its charges, in the currency''s minor units: the sum of stripe.charge.amount_refunded over the first 100 charges of its account by id. It does not change status.';
COMMENT ON COLUMN stripe.invoice.amount_credited IS 'What it was credited with, in the currency''s minor units: the sum over the first 100 credit notes of its account by id that are not void. A note that refunds counts here, and its refund in amount_refunded as well.';
COMMENT ON COLUMN stripe.invoice.finalization_error_type IS 'The type of the error for which Stripe could not finalise the draft; null once it is finalised.';
COMMENT ON COLUMN stripe.invoice.finalization_error_code IS 'The code of that error, where it has one.';
COMMENT ON COLUMN stripe.invoice.automatic_tax_status IS 'How far Stripe has calculated the tax: complete, failed, requires_location_inputs; null where it does not.';
