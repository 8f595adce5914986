// Talks to the stand-in with Stripe's own client, and prints what it saw. The
// argument is the stand-in's address.
import assert from 'node:assert/strict';
import Stripe from 'stripe';

const url = new URL(process.argv[2]);
const settings = { host: url.hostname, port: url.port, protocol: 'http', telemetry: false };
const stripe = new Stripe('sk_test_standin', settings);

// The name of the error that a call ends with.
async function refused(call) {
  try {
    await call();
  } catch (error) {
    return { type: error.type, code: error.code, param: error.param, status: error.statusCode };
  }
  throw new Error('it was not refused');
}

const asked = { card_payments: { requested: true }, transfers: { requested: true } };
const express = { type: 'express', country: 'ES', capabilities: asked, metadata: { hostId: 'host-1' } };
const first = await stripe.accounts.create(express, { idempotencyKey: 'one' });
const again = await stripe.accounts.create(express, { idempotencyKey: 'one' });
assert.equal(first.id, again.id);

const second = await stripe.v2.core.accounts.create({
  contact_email: 'a@dialoom.example',
  display_name: 'Ana',
  dashboard: 'express',
  identity: { country: 'ES', entity_type: 'individual' },
  configuration: {
    merchant: { capabilities: { card_payments: { requested: true } } },
    recipient: { capabilities: { stripe_balance: { stripe_transfers: { requested: true } } } },
  },
  defaults: { responsibilities: { fees_collector: 'application', losses_collector: 'application' } },
  metadata: { hostId: 'host-2' },
  include: ['configuration.merchant', 'requirements'],
});
assert.equal(second.configuration.merchant.capabilities.card_payments.status, 'restricted');
const seen = await stripe.v2.core.accounts.retrieve(first.id, { include: ['requirements', 'identity'] });
assert.equal(seen.identity.country, 'ES');
assert.ok(seen.requirements.entries.length > 0);

const ids = [];
for await (const account of stripe.v2.core.accounts.list({ limit: 1 })) ids.push(account.id);
assert.deepEqual(ids, [second.id, first.id]);
const pages = [];
for await (const account of stripe.accounts.list({ limit: 1, created: { gte: 5 } })) pages.push(account.id);
assert.deepEqual(pages, ids);

const urls = { refresh_url: 'https://a.example/r', return_url: 'https://a.example/b' };
const use_case = { type: 'account_onboarding', account_onboarding: urls };
assert.equal((await stripe.v2.core.accountLinks.create({ account: second.id, use_case })).account, second.id);

const errors = {
  unknown: await refused(() => stripe.accounts.create({ type: 'express', color: 'red' })),
  reused: await refused(() => stripe.accounts.create({ type: 'express' }, { idempotencyKey: 'one' })),
  unknownAccount: await refused(() => stripe.tax.settings.retrieve({}, { stripeAccount: 'acct_none' })),
  newField: await refused(() => stripe.v2.core.accounts.create({ color: 'red' })),
  key: await refused(() => new Stripe('sk_test_other', settings).accounts.list()),
};
console.log(JSON.stringify({ first: first.id, second: second.id, errors }));
// The client's kept connections hold the process for more than a minute.
process.exit(0);
