-- What the events $FROM to $TO have left behind, had they come long ago: their ids
-- and bookings sort before those of any event that is sent now.

INSERT INTO stripe.event
    (id, type, account, api_version, livemode, created, object_id, outcome, received_at, trace_id)
SELECT 'evt_10' || lpad(to_hex(n), 8, '0') || substr(md5(n::text), 1, 14),
    (ARRAY['invoice.created', 'checkout.session.completed', 'invoice.finalized', 'invoice.paid'])[1 + n % 4],
    'acct_10' || lpad((n / 4 % 5000)::text, 14, 'x'),
    '2025-09-30.clover', false, now() - interval '40 days', 'in_10' || lpad(to_hex(n / 4), 20, '0'),
    'applied', now() - interval '40 days', md5(n::text)
FROM generate_series($FROM, $TO - 1) AS n;

INSERT INTO stripe.invoice
    (id, account, claimed_booking_id, booking_id, status, total, currency, created, number,
     hosted_invoice_url, invoice_pdf, event_created, event_id)
SELECT 'in_10' || lpad(to_hex(b), 20, '0'), 'acct_10' || lpad((b % 5000)::text, 14, 'x'),
    b - 100000000, b - 100000000, 'paid', 4500, 'eur', now() - interval '40 days', 'DIALOOM' || b || '-0001',
    'https://invoice.stripe.com/i/acct_sample/test_' || repeat(md5(b::text), 4),
    'https://pay.stripe.com/invoice/acct_sample/test_' || repeat(md5(b::text), 4) || '/pdf',
    now() - interval '40 days', 'evt_10' || lpad(to_hex(b * 4 + 3), 8, '0') || substr(md5((b * 4 + 3)::text), 1, 14)
FROM generate_series($FROM / 4, $TO / 4 - 1) AS b;

INSERT INTO stripe.checkout_session
    (id, account, claimed_booking_id, payment_status, status, invoice_id, payment_intent_id, event_created,
     event_id)
SELECT 'cs_test_a1' || md5(b::text) || substr(md5('x' || b), 1, 24), 'acct_10' || lpad((b % 5000)::text, 14, 'x'),
    b - 100000000, 'paid', 'complete', 'in_10' || lpad(to_hex(b), 20, '0'), 'pi_10' || lpad(to_hex(b), 20, '0'),
    now() - interval '40 days', 'evt_10' || lpad(to_hex(b * 4 + 1), 8, '0') || substr(md5((b * 4 + 1)::text), 1, 14)
FROM generate_series($FROM / 4, $TO / 4 - 1) AS b;

INSERT INTO stripe.booking_claim (booking_id, account, object_kind, object_id, event_created, event_id)
SELECT b - 100000000, 'acct_10' || lpad((b % 5000)::text, 14, 'x'), kind,
    CASE kind
        WHEN 'invoice' THEN 'in_10' || lpad(to_hex(b), 20, '0')
        ELSE 'cs_test_a1' || md5(b::text) || substr(md5('x' || b), 1, 24)
    END,
    now() - interval '40 days', 'evt_10' || lpad(to_hex(b * 4), 8, '0') || substr(md5((b * 4)::text), 1, 14)
FROM generate_series($FROM / 4, $TO / 4 - 1) AS b, (VALUES ('invoice'), ('session')) AS kinds (kind);

INSERT INTO "Invoice" ("bookingId", "stripeInvoiceId", "pdfUrl", "amount", "currency", "status", "createdAt")
SELECT b - 100000000, 'in_10' || lpad(to_hex(b), 20, '0'),
    'https://pay.stripe.com/invoice/acct_sample/test_' || repeat(md5(b::text), 4) || '/pdf',
    45, 'eur', 'PAID', now() - interval '40 days'
FROM generate_series($FROM / 4, $TO / 4 - 1) AS b;
